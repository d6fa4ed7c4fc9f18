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
