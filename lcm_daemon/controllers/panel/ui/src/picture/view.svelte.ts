/** How the picture pane shows input and output. Kept in the browser. */

export const INPUT_VIEWS = ["off", "inset", "beside"] as const;
export type InputView = (typeof INPUT_VIEWS)[number];

const STORE = "lcm-daemon.picture";
const [MIN_SHARE, MAX_SHARE] = [0.15, 0.85]; // of the pane's width, that the left picture may take

class View {
  input = $state<InputView>("inset");
  /** The input is the large picture, or the left one. */
  swapped = $state(false);
  /** Share of the left picture, while they are beside each other. */
  share = $state(0.5);
  /** Size of the output in pixels, "512 × 512"; "" before the first frame. */
  size = $state("");
  hasInput = $state(false);

  constructor() {
    try {
      const kept = JSON.parse(localStorage.getItem(STORE) ?? "{}") as Partial<View>;
      if (kept.input && INPUT_VIEWS.includes(kept.input)) this.input = kept.input;
      this.swapped = kept.swapped === true;
      if (typeof kept.share === "number") this.resize(kept.share, false);
    } catch {
      return; // no storage, or not ours: the defaults apply
    }
  }

  next(): void {
    this.input = INPUT_VIEWS[(INPUT_VIEWS.indexOf(this.input) + 1) % INPUT_VIEWS.length] ?? "inset";
    if (this.input === "off") this.swapped = false;
    this.#keep();
  }

  swap(): void {
    this.swapped = !this.swapped;
    this.#keep();
  }

  resize(share: number, keep = true): void {
    this.share = Math.min(Math.max(share, MIN_SHARE), MAX_SHARE);
    if (keep) this.#keep();
  }

  #keep(): void {
    try {
      localStorage.setItem(STORE, JSON.stringify({ input: this.input, swapped: this.swapped, share: this.share }));
    } catch {
      return; // a private window without storage
    }
  }
}

export const view = new View();
