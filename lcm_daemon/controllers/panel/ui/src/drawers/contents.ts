import type { Drawer } from "../layout.svelte";

const CARDS = ["prompt", "prompt_b", "blend", "strength", "mix", "feedback", "seed", "noise", "mode", "master", "freeze", "blackout"];
const TEMPO = ["bpm", "quantise"];

/** The drawer that has a parameter's control; "" if a card has it. */
export function drawerOf(name: string): Drawer | "" {
  if (CARDS.includes(name)) return "";
  if (name.startsWith("lora/")) return "LoRA";
  if (name.startsWith("control")) return "ControlNet";
  if (name === "image_prompt") return "Pictures";
  if (name.includes("/")) return "Modulation";
  return TEMPO.includes(name) ? "Tempo" : "Model";
}
