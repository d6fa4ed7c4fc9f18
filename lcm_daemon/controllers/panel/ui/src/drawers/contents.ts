import { DRAWERS, type Drawer } from "../layout.svelte";
import { link } from "../link.svelte";
import type { Parameter } from "../protocol";

const CARD_GROUPS = ["Prompt", "Master"]; // the cards have room for all of these
const PLAY_CARD = ["strength", "mix", "feedback", "seed", "seed_lock", "noise", "mode"];

/** The drawer that has a parameter's control: that of its group, or Model for what no card has room for; "" is a card. */
function drawerOf(parameter: Parameter): Drawer | "" {
  if (CARD_GROUPS.includes(parameter.group) || PLAY_CARD.includes(parameter.name)) return "";
  return DRAWERS.find((drawer) => drawer === parameter.group) ?? "Model";
}

/** The parameters of a drawer, in the order of the parameter table. */
export function parametersOf(drawer: Drawer): Parameter[] {
  return link.parameters.filter((parameter) => drawerOf(parameter) === drawer);
}

/** Parameters by a text, in the order in which the texts come first. */
export function grouped(parameters: Parameter[], text: (parameter: Parameter) => string): [string, Parameter[]][] {
  const groups = new Map<string, Parameter[]>();
  for (const parameter of parameters) groups.set(text(parameter), [...(groups.get(text(parameter)) ?? []), parameter]);
  return [...groups];
}

/** Parameters by the second part of their names: "edges" of "control/edges/weight". */
export function byOwner(parameters: Parameter[]): [string, Parameter[]][] {
  return grouped(parameters, (parameter) => parameter.name.split("/")[1] ?? "");
}
