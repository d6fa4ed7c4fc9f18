import { link } from "../link.svelte";
import type { Condition, Parameter } from "../protocol";

/** Whether a condition holds now; lcm_daemon/core/needs.py defines it. A parameter that is absent decides nothing. */
function holds(condition: Condition): boolean {
  const value = link.live[condition.parameter] ?? link.values[condition.parameter];
  if (value === undefined) return true;
  if (condition.values.length || condition.filled) {
    return condition.values.includes(String(value)) || (condition.filled && value !== "");
  }
  const { above, below } = condition;
  return (above === null || Number(value) > above) && (below === null || Number(value) < below);
}

/** Why a control has no effect now; "" if it has one. */
export function withoutEffect(parameter: Parameter): string {
  return parameter.needs.find((need) => !need.conditions.some(holds))?.reason ?? "";
}
