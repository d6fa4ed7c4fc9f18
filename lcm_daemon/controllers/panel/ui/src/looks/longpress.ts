const HOLD_MS = 500;
const SLACK = 10; // pixels that a finger may move

/** Calls `act` after a long press of a finger or a pen. Returns the handlers; the click that follows is left out. */
export function longPress(act: () => void): Record<string, (event: MouseEvent) => void> {
  let timer = 0;
  let acted = false;
  let [x, y] = [0, 0];
  const cancel = (): void => clearTimeout(timer);
  return {
    onpointerdown: (event) => {
      acted = false;
      cancel();
      if (!(event instanceof PointerEvent) || event.pointerType === "mouse") return;
      [x, y] = [event.clientX, event.clientY];
      timer = window.setTimeout(() => {
        acted = true;
        act();
      }, HOLD_MS);
    },
    onpointermove: (event) => {
      if (Math.hypot(event.clientX - x, event.clientY - y) > SLACK) cancel();
    },
    onpointerup: cancel,
    onpointercancel: cancel,
    onpointerleave: cancel,
    onmousedown: (event) => {
      if (acted) event.preventDefault(); // browsers send it at the end of a touch, and would move the focus to the target
    },
    onclickcapture: (event) => {
      if (!acted) return;
      acted = false;
      event.preventDefault();
      event.stopPropagation();
    },
  };
}
