import { title } from "./format";
import { link } from "./link.svelte";
import type { Parameter, Row } from "./protocol";

export const GOTO = "cue/goto ";

/** Commands whose buttons have other names on the page. */
const NAMES: Record<string, string> = { "cue/go": "GO", "cue/back": "BACK", tap: "TAP", panic: "PANIC" };

/** A target for people: `GO`, `Look "Act One"`, `Noise speed`. */
export function targetTitle(name: string): string {
  return name.startsWith(GOTO) ? `Look “${name.slice(GOTO.length)}”` : (NAMES[name] ?? title(name));
}

const LONG_PRESS_MS = 600;
const SLACK = 8; // pixels that a long press may move

/**
 * Binding of MIDI controls and OSC addresses: the menu of one target, and what the daemon is learning. A target is a
 * parameter's name, or a command with its argument: "cue/go", "cue/goto Act One".
 */
class Learn {
  /** The target whose menu is open; "" without one. */
  name = $state("");
  x = $state(0);
  y = $state(0);
  #hasStarted = false; // this menu has asked to learn; the answer may still be on its way

  /** What is being learned, by the daemon's account: `to`, and `control` and `conflict` once a control waits. */
  readonly now = $derived<Row | undefined>(link.lists.learning?.[0]);

  readonly isCommand = $derived(link.commands.some((command) => command.name === this.name.split(" ")[0]));

  readonly heading = $derived(targetTitle(this.name));

  /** The bindings of a target: `control`, `low`, `high`, `ranged`, `curve`. */
  bindings(name: string): Row[] {
    return (link.lists.bindings ?? []).filter((row) => row.to === name);
  }

  /** The controls of a target as one line of a tooltip; "" without any. */
  bound(name: string): string {
    const controls = this.bindings(name).map((row) => row.control);
    return controls.length ? `\nBound to ${controls.join(", ")}` : "";
  }

  open(name: string, x: number, y: number): void {
    [this.name, this.x, this.y] = [name, x, y];
  }

  start(): void {
    this.#hasStarted = true;
    link.command("learn/start", this.name);
  }

  /** End learning, and close the menu. */
  close(): void {
    if (this.now || this.#hasStarted) link.command("learn/cancel");
    this.#hasStarted = false;
    this.name = "";
  }
}

export const learn = new Learn();

/** A parameter, or a command with its argument. */
type Target = Parameter | string;

const nameOf = (target: Target): string => (typeof target === "string" ? target : target.name);

/** Whether a control can have it: no fader sets a text. */
const isLearnable = (target: Target): boolean => link.canPlay && (typeof target === "string" || target.kind !== "text");

/**
 * Open the menu of a target by a right click, the menu key or a long press. Text fields keep their own menu.
 * A button that acts when it is pressed has no long press: it may be held while the show plays.
 */
export function learnable(node: HTMLElement, target: Target): { update: (next: Target) => void; destroy: () => void } {
  return watch(node, target, true);
}

/** As `learnable`, for a button that acts when it is pressed. Fingers find these commands in the menu of the show. */
export function learnableKey(node: HTMLElement, target: string): { update: (next: Target) => void; destroy: () => void } {
  return watch(node, target, false);
}

function watch(node: HTMLElement, target: Target, byHold: boolean): { update: (next: Target) => void; destroy: () => void } {
  let timer = 0;
  let isHeld = false; // the click at the end of a long press does nothing
  let from = { x: 0, y: 0 };
  let name = $state(nameOf(target));
  $effect(() => {
    node.toggleAttribute("data-learning", learn.now?.to === name);
  });

  function open(event: Event, x: number, y: number): boolean {
    if (!isLearnable(target)) return false;
    event.preventDefault();
    learn.open(nameOf(target), x, y);
    return true;
  }

  function onMenu(event: MouseEvent): void {
    if (event.target instanceof HTMLInputElement && event.target.type === "text") return;
    const isTouch = event instanceof PointerEvent && event.pointerType === "touch";
    if (isTouch && !byHold) return event.preventDefault();
    const box = node.getBoundingClientRect();
    const byKey = event.clientX === 0 && event.clientY === 0;
    open(event, byKey ? box.left : event.clientX, byKey ? box.bottom : event.clientY);
  }

  function onDown(event: PointerEvent): void {
    clearTimeout(timer);
    isHeld = false;
    if (event.pointerType !== "touch" || !byHold) return;
    from = { x: event.clientX, y: event.clientY };
    timer = window.setTimeout(() => (isHeld = open(event, from.x, from.y)), LONG_PRESS_MS);
  }

  function onMove(event: PointerEvent): void {
    if (Math.hypot(event.clientX - from.x, event.clientY - from.y) > SLACK) clearTimeout(timer);
  }

  function onClick(event: MouseEvent): void {
    if (!isHeld || event.detail === 0) return;
    isHeld = false;
    event.preventDefault();
    event.stopPropagation();
  }

  const onEnd = () => clearTimeout(timer);
  const listening = new AbortController();
  const options = { signal: listening.signal };
  node.addEventListener("contextmenu", onMenu, options);
  node.addEventListener("pointerdown", onDown, options);
  node.addEventListener("pointermove", onMove, options);
  node.addEventListener("pointerup", onEnd, options);
  node.addEventListener("pointercancel", onEnd, options);
  node.addEventListener("click", onClick, { ...options, capture: true });
  return {
    update: (next) => {
      target = next;
      name = nameOf(next);
    },
    destroy: () => {
      clearTimeout(timer);
      listening.abort();
    },
  };
}
