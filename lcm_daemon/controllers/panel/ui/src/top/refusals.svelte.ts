import { link } from "../link.svelte";

export interface Refusal {
  number: number;
  at: string;
  by: string;
  text: string;
  count: number;
}

const SHOWN_MS = 6000;

/** What the daemon has refused, and the newest refusal while it is news to this page. */
class Refusals {
  /** The newest first. */
  rows = $derived((link.lists.refusals ?? []).map((row) => row as unknown as Refusal).reverse());
  news = $state<Refusal | null>(null);

  #seen: number | null = null; // number of the newest refusal that this page knows; null before the first list
  #timer = 0;

  /** Take notice of a newer refusal. Call this in an effect. It does not report what was refused before the page came. */
  watch(): void {
    const newest = this.rows[0];
    const number = newest?.number ?? 0;
    const isNews = this.#seen !== null && number > this.#seen;
    this.#seen = link.online ? number : null;
    if (!isNews || !newest) return;
    this.news = newest;
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => (this.news = null), SHOWN_MS);
  }
}

export const refusals = new Refusals();
