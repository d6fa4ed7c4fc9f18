import { link } from "./link.svelte";

const ASKED_MS = 1000; // by then the status, which comes twice a second, has told what became of it

/** Where the show is in its cue list: what the status says, and before that what this page has asked for. */
class Cues {
  #asked = $state("");
  #timer = 0;

  names = $derived(String(link.status.cues ?? "").split("\n").filter(Boolean));
  current = $derived(this.names.indexOf(String(link.status.cue ?? "")));
  /** The cue that is about to begin, after its delay or on the beat; -1 if none is. */
  coming = $derived(this.names.indexOf(this.#asked || String(link.status.next_cue ?? "")));
  #place = $derived(this.coming < 0 ? this.current : this.coming);
  /** Where GO and BACK lead; "" at the ends of the list. */
  next = $derived(this.names[this.#place + 1] ?? "");
  previous = $derived(this.names[this.#place - 1] ?? "");

  go = (): void => {
    if (this.next) this.#ask(this.next, "cue/go");
  };

  back = (): void => {
    if (this.previous) this.#ask(this.previous, "cue/back");
  };

  goto = (name: string): void => this.#ask(name, "cue/goto", name);

  release = (): void => this.#tell("cue/release");

  panic = (): void => this.#tell("panic");

  tap = (): void => link.command("tap");

  #ask(name: string, command: string, ...argument: string[]): void {
    this.#tell(command, ...argument);
    this.#asked = name;
    this.#timer = window.setTimeout(() => (this.#asked = ""), ASKED_MS);
  }

  #tell(command: string, ...argument: string[]): void {
    clearTimeout(this.#timer);
    this.#asked = "";
    link.command(command, ...argument);
  }
}

export const cues = new Cues();
