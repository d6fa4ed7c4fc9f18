/**
 * The mouse wheel moves a control under the pointer, but a wheel that scrolls the page goes on scrolling it: a control
 * that passes under the pointer meanwhile does not take over.
 */
const SCROLL_MS = 400; // after the last scrolling, the wheel is free again
const NOTCH = 100; // of a wheel event's distance: one step
const LINE = 33; // of a distance in lines

let scrolledAt = -Infinity;
document.addEventListener("scroll", () => (scrolledAt = performance.now()), { capture: true, passive: true });

/** Call `move` with steps, upwards positive, fractions included; `fine` while Shift is held. For a Svelte attachment. */
export function wheel(move: (steps: number, fine: boolean) => void): (element: HTMLElement) => () => void {
  return (element) => {
    function turn(event: WheelEvent): void {
      if (event.ctrlKey || event.metaKey || performance.now() - scrolledAt < SCROLL_MS) return;
      event.preventDefault();
      const distance = event.deltaY || event.deltaX; // browsers turn Shift and the wheel into sideways
      move((-distance * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE : 1)) / NOTCH, event.shiftKey);
    }
    element.addEventListener("wheel", turn, { passive: false });
    return () => element.removeEventListener("wheel", turn);
  };
}
