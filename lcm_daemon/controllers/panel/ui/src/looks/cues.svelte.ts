import { link } from "../link.svelte";

const REQUEST_MS = 1000; // by then the status, which comes twice a second, reflects the request

/** Position in the cue list: what the status reports, or until then what this page has requested. */
class Cues {
  #requested = $state("");
  #timer = 0;

  names = $derived(String(link.status.cues ?? "").split("\n").filter(Boolean));
  paused = $derived(link.status.paused === true);
  current = $derived(this.names.indexOf(String(link.status.cue ?? "")));
  /** The cue that waits for its delay or its beat; -1 if there is none. */
  coming = $derived(this.names.indexOf(this.#requested || String(link.status.next_cue ?? "")));
  #position = $derived(this.coming < 0 ? this.current : this.coming);
  /** The cues that GO and BACK start; "" at the ends of the list. */
  next = $derived(String((!this.#requested && link.status.upcoming_cue) || (this.names[this.#position + 1] ?? "")));
  previous = $derived(String((this.#requested ? undefined : link.status.previous_cue) ?? this.names[this.#position - 1] ?? ""));

  go = (): void => {
    if (this.next) this.#request(this.next, "cue/go");
  };

  back = (): void => {
    if (this.previous) this.#request(this.previous, "cue/back");
  };

  goto = (name: string): void => this.#request(name, "cue/goto", name);

  /** Let the next GO start this cue. */
  load = (name: string): void => link.command("cue/load", name);

  pause = (): void => this.#command("cue/pause");

  resume = (): void => this.#command("cue/resume");

  stop = (): void => this.#command("cue/stop");

  release = (): void => this.#command("cue/release");

  panic = (): void => this.#command("panic");

  tap = (): void => link.command("tap");

  #request(name: string, command: string, ...argument: string[]): void {
    this.#command(command, ...argument);
    this.#requested = name;
    this.#timer = window.setTimeout(() => (this.#requested = ""), REQUEST_MS);
  }

  #command(command: string, ...argument: string[]): void {
    clearTimeout(this.#timer);
    this.#requested = "";
    link.command(command, ...argument);
  }
}

export const cues = new Cues();
