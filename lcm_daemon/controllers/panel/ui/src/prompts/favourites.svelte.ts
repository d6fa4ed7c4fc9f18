import { link } from "../link.svelte";
import { drafts } from "./drafts.svelte";

type Arm = "" | "store" | "clear";

/** The show's bank of prompts, whose first nine places are played by the keys 1 to 9. */
class Favourites {
  /** What the next press of a number does instead of playing it. */
  armed = $state<Arm>("");

  text(number: number): string {
    const row = (link.lists.prompts ?? []).find((each) => each.number === number);
    return String(row?.text ?? "");
  }

  arm(arm: Arm): void {
    this.armed = this.armed === arm ? "" : arm;
  }

  /** Play a favourite, or store or clear it. What is typed is stored before it is sent. */
  press(number: number): void {
    const [arm, text] = [this.armed, drafts.prompt.shown.trim()];
    this.armed = "";
    if (arm === "store") link.command("prompts/store", number, text);
    else if (arm === "clear") link.command("prompts/clear", number);
    else if (this.text(number)) link.command("prompts/play", number);
  }

  /** Store a text at the first free place. */
  add(text: string): void {
    link.command("prompts/store", 0, text);
  }
}

export const favourites = new Favourites();
