import { link } from "../link.svelte";

const LIVE_KEY = "lcm-daemon.live-typing"; // in the browser's storage: a matter of each user
const LIVE_MS = 250; // after the last key, a text is sent while it is typed
const MAX_LENGTH = 2000; // the daemon cuts off the rest

function clean(text: string): string {
  return text.replaceAll("\n", " ").slice(0, MAX_LENGTH).trim();
}

/** Whether texts are sent while they are typed. */
class LiveTyping {
  #on = $state(localStorage.getItem(LIVE_KEY) === "on");

  get on(): boolean {
    return this.#on;
  }

  set on(value: boolean) {
    this.#on = value;
    localStorage.setItem(LIVE_KEY, value ? "on" : "off");
  }
}

export const liveTyping = new LiveTyping();

/** The text of a prompt field. What is typed stays in the field until it is sent, also when others send. */
export class Draft {
  readonly name: string;
  /** What is typed; null while the field shows the text in effect. */
  text = $state.raw<string | null>(null);
  #before = $state.raw(""); // in effect when the typing began
  #timer = 0;

  constructor(name: string) {
    this.name = name;
  }

  get inEffect(): string {
    return String(link.values[this.name] ?? "");
  }

  get shown(): string {
    return this.text ?? this.inEffect;
  }

  get isUnsent(): boolean {
    return this.text !== null && clean(this.text) !== this.inEffect;
  }

  /** Another user has changed the text in effect since the typing began. */
  get isOvertaken(): boolean {
    return this.isUnsent && this.inEffect !== this.#before;
  }

  type(text: string, isComposing = false): void {
    if (this.text === null) this.#before = this.inEffect;
    this.text = text;
    clearTimeout(this.#timer);
    if (liveTyping.on && !isComposing) this.#timer = window.setTimeout(() => this.#transmit(), LIVE_MS);
  }

  /** Send what is typed. While offline, it stays in the field. */
  send(): void {
    if (this.#transmit()) this.text = null;
  }

  /** Show the text in effect again. */
  restore(): void {
    clearTimeout(this.#timer);
    this.text = null;
  }

  leave(): void {
    if (liveTyping.on) this.#transmit();
    if (!this.isUnsent) this.restore();
  }

  #transmit(): boolean {
    clearTimeout(this.#timer);
    if (this.text === null || !link.online) return false;
    this.#before = clean(this.text);
    link.set(this.name, this.#before);
    return true;
  }
}

/** The drafts by parameter, and the field that words and prompts go to. They outlive the components. */
class Drafts {
  readonly prompt = new Draft("prompt");
  readonly prompt_b = new Draft("prompt_b");
  readonly negative_prompt = new Draft("negative_prompt");
  /** The field that was used last. */
  used = $state.raw<Draft>(this.prompt);

  of(name: string): Draft {
    return name === "prompt_b" ? this.prompt_b : name === "negative_prompt" ? this.negative_prompt : this.prompt;
  }

  /** Send a whole text, in place of what is typed. */
  play(name: string, text: string): void {
    this.of(name).restore();
    link.set(name, text);
  }
}

export const drafts = new Drafts();
