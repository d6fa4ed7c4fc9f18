import { isTyping } from "./press";

/** One key of the keyboard. */
export interface Key {
  /** As the browser names it, with the modifiers in this order: "Ctrl+Shift+z". Letters are lower case; Ctrl is also ⌘. */
  key: string;
  /** As the list of keys names it, such as "Ctrl Z"; "" for a key that another one's line names too. */
  name: string;
  /** What it does, in one line. */
  help: string;
  act: (event: KeyboardEvent) => void;
  /** Whether it acts now; without it, always. */
  when?: () => boolean;
  /** It also acts while a text field has the focus. */
  whileTyping?: boolean;
  /** A held key acts again and again. */
  repeats?: boolean;
}

const groups = new Map<string, readonly Key[]>();
let pointerFocused: EventTarget | null = null; // the element that got the focus by a click or a touch
let isPointing = false;

/** Add keys to the page and to the list of keys. Returns a function that removes them: the value of an `$effect`. */
export function registerKeys(group: string, keys: readonly Key[]): () => void {
  groups.set(group, keys);
  return () => {
    if (groups.get(group) === keys) groups.delete(group);
  };
}

/** The keys by group, in the order in which they were added. */
export function registeredKeys(): [string, readonly Key[]][] {
  return [...groups];
}

function nameOf(event: KeyboardEvent): string {
  const isLetter = /^[a-z]$/i.test(event.key);
  const shift = event.shiftKey && (isLetter || event.key.length > 1 || event.key === " "); // "?" holds its Shift already
  const modifiers = [(event.ctrlKey || event.metaKey) && "Ctrl+", event.altKey && "Alt+", shift && "Shift+"];
  return modifiers.filter(Boolean).join("") + (isLetter ? event.key.toLowerCase() : event.key);
}

/**
 * Whether Space and Enter belong to the element with the focus. A switch, a radio button and a list always keep them.
 * Any other button keeps them when the keyboard led to it: after a click on a look, Space is GO.
 */
function ownsKey(event: KeyboardEvent): boolean {
  const element = event.target;
  if (!(element instanceof HTMLElement) || (event.key !== " " && event.key !== "Enter")) return false;
  if (element.matches("[role=switch], [role=radio], [role=menuitem], [role=option], input, select, summary")) return true;
  return element.matches("button, a[href], [role=button], [role=tab], [role=separator]") && element !== pointerFocused;
}

function find(event: KeyboardEvent): Key | undefined {
  if (event.isComposing || event.defaultPrevented) return undefined;
  const name = nameOf(event);
  const key = [...groups.values()].flat().find((each) => each.key === name && (each.when?.() ?? true));
  return key && ((key.whileTyping ?? false) || !isTyping(event)) && !ownsKey(event) ? key : undefined;
}

function keyDown(event: KeyboardEvent): void {
  const isButton = event.target instanceof HTMLButtonElement;
  if (event.repeat && isButton && (event.key === "Enter" || event.key === " ")) event.preventDefault(); // acts once
  const key = find(event);
  if (!key) return;
  event.preventDefault();
  if (!event.repeat || key.repeats) key.act(event);
}

/** Browsers click the focused button when Space is released, also if the press was a key of the page. */
function keyUp(event: KeyboardEvent): void {
  if (event.key === " " && find(event)) event.preventDefault();
}

function focusIn(event: FocusEvent): void {
  pointerFocused = isPointing ? event.target : null;
}

/** Listen to the keyboard. Returns a function that ends it: the value of an `$effect`. */
export function listenToKeys(): () => void {
  const listeners: [string, (event: never) => void][] = [
    ["keydown", keyDown],
    ["keyup", keyUp],
    ["focusin", focusIn],
    ["pointerdown", () => (isPointing = true)],
    ["pointerup", () => (isPointing = false)],
    ["pointercancel", () => (isPointing = false)],
  ];
  for (const [name, listener] of listeners) window.addEventListener(name, listener as EventListener, name.startsWith("pointer"));
  return () => {
    for (const [name, listener] of listeners) window.removeEventListener(name, listener as EventListener, name.startsWith("pointer"));
  };
}
