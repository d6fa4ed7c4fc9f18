/** Handlers of a button that acts when it is pressed, not when it is released. The keyboard clicks it. */
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

/** Whether a key event belongs to a text field. */
export function isTyping(event: KeyboardEvent): boolean {
  const target = event.target;
  if (target instanceof HTMLInputElement) return target.type !== "radio";
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement;
}

/** Whether a key event belongs to an input method that composes text, including the Enter that ends the composition. */
export function isComposing(event: KeyboardEvent): boolean {
  return event.isComposing || event.keyCode === 229; // Safari ends the composition before that Enter and sends 229
}

/** Remove the focus from a text field, so that its content is applied. */
export function leaveField(): void {
  const field = document.activeElement;
  if (field instanceof HTMLInputElement || field instanceof HTMLTextAreaElement) field.blur();
}
