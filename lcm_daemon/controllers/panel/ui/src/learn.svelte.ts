import { link } from "./link.svelte";
import type { Parameter, Row } from "./protocol";

const LONG_PRESS_MS = 600;
const SLACK = 8; // pixels that a long press may move

/** Binding of MIDI controls and OSC addresses: the menu of one parameter, and what the daemon is learning. */
class Learn {
  /** The parameter whose menu is open; "" without one. */
  name = $state("");
  x = $state(0);
  y = $state(0);

  /** What is being learned, by the daemon's account: `to`, and `control` and `conflict` once a control waits. */
  readonly now = $derived<Row | undefined>(link.lists.learning?.[0]);

  /** The bindings of a parameter: `control`, `low`, `high`, `ranged`, `curve`. */
  bindings(name: string): Row[] {
    return (link.lists.bindings ?? []).filter((row) => row.to === name);
  }

  open(name: string, x: number, y: number): void {
    [this.name, this.x, this.y] = [name, x, y];
  }

  start(): void {
    link.command("learn/start", this.name);
  }

  /** End learning, and close the menu. */
  close(): void {
    if (this.now) link.command("learn/cancel");
    this.name = "";
  }
}

export const learn = new Learn();

/** Open the menu of a parameter by a right click, the menu key or a long press. Text fields keep their own menu. */
export function learnable(node: HTMLElement, parameter: Parameter): { update: (next: Parameter) => void; destroy: () => void } {
  let timer = 0;
  let from = { x: 0, y: 0 };

  function open(event: Event, x: number, y: number): void {
    if (parameter.kind === "text" || !link.canPlay) return;
    event.preventDefault();
    learn.open(parameter.name, x, y);
  }

  function onMenu(event: MouseEvent): void {
    if (event.target instanceof HTMLInputElement && event.target.type === "text") return;
    const box = node.getBoundingClientRect();
    const byKey = event.clientX === 0 && event.clientY === 0;
    open(event, byKey ? box.left : event.clientX, byKey ? box.bottom : event.clientY);
  }

  function onDown(event: PointerEvent): void {
    clearTimeout(timer);
    if (event.pointerType !== "touch") return;
    from = { x: event.clientX, y: event.clientY };
    timer = window.setTimeout(() => open(event, from.x, from.y), LONG_PRESS_MS);
  }

  function onMove(event: PointerEvent): void {
    if (Math.hypot(event.clientX - from.x, event.clientY - from.y) > SLACK) clearTimeout(timer);
  }

  const onEnd = () => clearTimeout(timer);
  node.addEventListener("contextmenu", onMenu);
  node.addEventListener("pointerdown", onDown);
  node.addEventListener("pointermove", onMove);
  node.addEventListener("pointerup", onEnd);
  node.addEventListener("pointercancel", onEnd);
  return {
    update: (next) => (parameter = next),
    destroy: () => {
      clearTimeout(timer);
      node.removeEventListener("contextmenu", onMenu);
      node.removeEventListener("pointerdown", onDown);
      node.removeEventListener("pointermove", onMove);
      node.removeEventListener("pointerup", onEnd);
      node.removeEventListener("pointercancel", onEnd);
    },
  };
}
