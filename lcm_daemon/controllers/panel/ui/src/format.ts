import type { Parameter, Status, Value } from "./protocol";

/** "negative_prompt" -> "Negative prompt" */
export function title(name: string): string {
  const words = name.replaceAll(/[_/]/g, " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Number of decimals shown, enough to distinguish two neighbouring fader positions. */
export function decimals(parameter: Parameter, value: number): number {
  if (parameter.kind === "int") return 0;
  if (parameter.logarithmic) return value < 10 ? 2 : 1;
  const span = (parameter.high ?? Infinity) - (parameter.low ?? -Infinity);
  if (span <= 2) return 3;
  return span <= 100 ? 2 : 1;
}

export function number(parameter: Parameter, value: Value): string {
  return Number(value).toFixed(decimals(parameter, Number(value)));
}

/** Clamp to the range and round to the decimals shown. */
export function snap(parameter: Parameter, value: number): number {
  const inside = Math.min(Math.max(value, parameter.low ?? -Infinity), parameter.high ?? Infinity);
  if (parameter.kind === "int" && parameter.step > 1) return Math.round(inside / parameter.step) * parameter.step;
  return Number(inside.toFixed(decimals(parameter, inside)));
}

/** Range and default in one line. */
export function facts(parameter: Parameter): string {
  const unit = parameter.unit ? ` ${parameter.unit}` : "";
  const ranged = parameter.low !== null && parameter.high !== null;
  const range = ranged ? `${parameter.low} to ${parameter.high}${unit} · ` : "";
  return `${range}default ${parameter.default === "" ? "empty" : parameter.default}`;
}

/** Status entries that come first. The others follow, numbers before texts. */
const FIRST = ["fps", "latency", "dropped", "engine", "source"];
const ELSEWHERE = ["show", "alarm", "error", "cue", "next_cue", "upcoming_cue", "previous_cue", "cues", "cue_file"]; // shown in the header and in the deck

export function statusKeys(status: Status): { first: string[]; rest: string[] } {
  return {
    first: FIRST.filter((key) => key in status),
    rest: Object.keys(status)
      .filter((key) => !FIRST.includes(key) && !ELSEWHERE.includes(key))
      .sort((a, b) => Number(typeof status[a] === "string") - Number(typeof status[b] === "string")),
  };
}

const UNITS: Record<string, string> = { latency: "ms", engine_latency: "ms", render: "ms", late: "ms", fade_left: "s" };

export function statusText(key: string, value: Value | null | undefined): string {
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "string") return value;
  if (key === "uptime") return duration(value);
  if (key === "fade") return `${Math.round(value * 100)} %`;
  const text = Number.isInteger(value) && !UNITS[key] ? String(value) : value.toFixed(1);
  return UNITS[key] ? `${text} ${UNITS[key]}` : text;
}

/** Seconds as "3 d 04:05:06". */
function duration(seconds: number): string {
  const two = (count: number) => String(Math.floor(count)).padStart(2, "0");
  const clock = `${two((seconds % 86400) / 3600)}:${two((seconds % 3600) / 60)}:${two(seconds % 60)}`;
  return seconds < 86400 ? clock : `${Math.floor(seconds / 86400)} d ${clock}`;
}

/** Entries that contain states: "rendering", or "ndi lcm: running; record: the disk is full". */
const STATE_KEYS = ["engine", "source", "sinks"];
const HEALTHY = /(^|: )(running|rendering|none|off|unloaded)$/; // a sink that is off was switched off, and the engine of a closed show

export function hasProblem(key: string, value: Value | null | undefined): boolean {
  if (STATE_KEYS.includes(key)) return String(value ?? "").split("; ").some((state) => !HEALTHY.test(state));
  return key === "failsafe" && value === true;
}
