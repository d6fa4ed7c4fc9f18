import { link } from "../link.svelte";

const REQUEST_MS = 1000; // by then the status, which comes twice a second, reflects the request
const NOTICE_MS = 10_000; // how long a change can be undone with one touch

/** A row of the list "looks"; lcm_daemon/automation/cue_editor.py describes it. */
export interface LookRow {
  number: number;
  name: string;
  fade: number;
  follow: number;
  auto_continue: number;
  delay: number;
  at: string;
  recipe: string;
  source: string;
  prompt: string;
  origin: "show" | "recorded" | "changed";
  thumbnail: string;
  saved: boolean;
}

export type LookState = "current" | "coming" | "next" | "";

/** The looks, and the position among them: what the status reports, or until then what this page has requested. */
class Cues {
  #requested = $state("");
  #timer = 0;
  #noticeTimer = 0;

  rows = $derived((link.lists.looks ?? []) as unknown as LookRow[]);
  names = $derived(this.rows.map((row) => row.name));
  paused = $derived(link.status.paused === true);
  current = $derived(this.names.indexOf(String(link.status.cue ?? "")));
  /** The cue that waits for its delay or its beat; -1 if there is none. */
  coming = $derived(this.names.indexOf(this.#requested || String(link.status.next_cue ?? "")));
  #position = $derived(this.coming < 0 ? this.current : this.coming);
  /** The cues that GO and BACK start; "" at the ends of the list. */
  next = $derived(String((!this.#requested && link.status.upcoming_cue) || (this.names[this.#position + 1] ?? "")));
  previous = $derived(String((this.#requested ? undefined : link.status.previous_cue) ?? this.names[this.#position - 1] ?? ""));
  /** The last change that this page has made, while it offers to undo it. */
  notice = $state("");

  stateOf(position: number): LookState {
    if (position === this.current) return "current";
    if (position === this.coming) return "coming";
    return this.names[position] === this.next ? "next" : "";
  }

  /** A name that no look has. */
  freeName(): string {
    let number = this.names.length + 1;
    while (this.names.includes(`look ${number}`)) number += 1;
    return `look ${number}`;
  }

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

  save = (name: string): void => {
    link.command("cue/record", name);
    this.#announce(this.names.includes(name) ? `“${name}” is overwritten` : `“${name}” is saved`);
  };

  overwrite = (name: string): void => this.#edit(`“${name}” is overwritten`, "cue/overwrite", name);

  rename = (name: string, to: string): void => this.#edit(`“${name}” is now “${to}”`, "cue/rename", name, to);

  setFade = (name: string, seconds: number): void => link.command("cue/fade", name, seconds);

  /** seconds: from the end of the fade to the next look; -1 is never. */
  setFollow = (name: string, seconds: number): void => link.command("cue/follow", name, seconds);

  move = (name: string, place: number): void => {
    if (place >= 1 && place <= this.names.length) link.command("cue/move", name, place);
  };

  duplicate = (name: string): void => this.#edit(`“${name}” is duplicated`, "cue/duplicate", name);

  delete = (row: LookRow): void => {
    link.command("cue/delete", row.name);
    if (row.origin === "recorded") this.#announce(`“${row.name}” is deleted`);
    if (row.origin === "changed") this.#announce(`“${row.name}” is as in the show file again`);
  };

  undo = (): void => {
    link.command("cue/undo");
    this.notice = "";
  };

  #edit(notice: string, command: string, ...argument: string[]): void {
    link.command(command, ...argument);
    this.#announce(notice);
  }

  #announce(text: string): void {
    this.notice = text;
    clearTimeout(this.#noticeTimer);
    this.#noticeTimer = window.setTimeout(() => (this.notice = ""), NOTICE_MS);
  }

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
