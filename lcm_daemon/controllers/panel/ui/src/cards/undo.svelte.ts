import { link } from "../link.svelte";
import type { Row } from "../protocol";

const OFFER_MS = 10_000; // after a panic, by whom ever, its undo is offered

/** What can be undone: the daemon keeps the moves of all users. */
class Undo {
  /** The undo of a panic is offered. */
  offered = $state(false);
  #newest = Infinity; // number of the newest panic that is known; before the first list, each one is old
  #timer = 0;

  next = $derived<Row | undefined>((link.lists.undo ?? [])[0]);
  again = $derived<Row | undefined>((link.lists.redo ?? [])[0]);
  /** What an undo would take back: "strength (page)". */
  what = $derived(this.next ? `${this.next.what}${this.next.by ? ` (${this.next.by})` : ""}` : "");
  #panic = $derived(Number((link.lists.undo ?? []).find((row) => row.panic)?.number ?? 0));

  undo = (): void => link.command("undo");
  redo = (): void => link.command("redo");

  undoPanic = (): void => {
    this.offered = false;
    link.command("undo_panic");
  };

  /** Follow the list; the value of an `$effect`. */
  watch = (): void => {
    const [newest, isKnown] = [this.#panic, link.online && link.lists.undo !== undefined];
    if (!isKnown) return;
    if (newest > this.#newest) {
      this.offered = true;
      clearTimeout(this.#timer);
      this.#timer = window.setTimeout(() => (this.offered = false), OFFER_MS);
    } else if (newest < this.#newest) {
      this.offered = false;
    }
    this.#newest = newest;
  };
}

export const undo = new Undo();
