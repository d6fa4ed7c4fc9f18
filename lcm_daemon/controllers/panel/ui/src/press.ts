/** For a button that acts when it is pressed, not when it is let go. From the keyboard it is clicked. */
export function press(act: () => void): Record<string, (event: MouseEvent) => void> {
  return {
    onpointerdown: (event) => {
      if (event.button === 0) act();
    },
    onclick: (event) => {
      if (event.detail === 0) act();
    },
  };
}

/** Whether a key belongs to the text that somebody writes just now. */
export function isTyping(event: KeyboardEvent): boolean {
  const target = event.target;
  if (target instanceof HTMLInputElement) return target.type !== "radio";
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement;
}

/** Whether a text is only being composed: its letters, and the Enter that ends it, are the input method's. */
export function isComposing(event: KeyboardEvent): boolean {
  return event.isComposing || event.keyCode === 229; // Safari ends the composition before that Enter, and says 229
}

/** Put the cursor out of a field, so that what is written there counts. */
export function leaveField(): void {
  const field = document.activeElement;
  if (field instanceof HTMLInputElement || field instanceof HTMLTextAreaElement) field.blur();
}
