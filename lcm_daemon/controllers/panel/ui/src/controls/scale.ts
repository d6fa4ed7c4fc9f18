import type { Parameter } from "../protocol";

/** How a fader's position, from 0 to 1, is a value. A logarithmic one is finer near its low end, which it includes. */
const BASE = 1000; // the slope at the high end is this many times that at the low end

function range(parameter: Parameter): { low: number; span: number } {
  const low = parameter.low ?? 0;
  return { low, span: (parameter.high ?? 1) - low || 1 };
}

/** The position of a value. */
export function toPosition(parameter: Parameter, value: number): number {
  const { low, span } = range(parameter);
  const share = Math.min(Math.max((value - low) / span, 0), 1);
  return parameter.logarithmic ? Math.log1p(share * (BASE - 1)) / Math.log(BASE) : share;
}

/** The value at a position, not rounded. */
export function toValue(parameter: Parameter, position: number): number {
  const { low, span } = range(parameter);
  const inside = Math.min(Math.max(position, 0), 1);
  return low + span * (parameter.logarithmic ? (BASE ** inside - 1) / (BASE - 1) : inside);
}

/** How far one step of the wheel or of an arrow key goes: one of whole numbers, or a hundredth of the way. */
export function stepOf(parameter: Parameter): number {
  return parameter.kind === "int" ? parameter.step / range(parameter).span : 0.01;
}

const NUMBER = /^[+-]?(\d+([.,]\d*)?|[.,]\d+)\s*%?$/;
const OPERATION = /^([+\-*/])=\s*(.+)$/;

/** Read what was typed into a number's field: "0.5", "0,5", "50%", or "+=0.1", "*=2" from the present value. */
export function readNumber(text: string, present: number): number | null {
  const operation = OPERATION.exec(text.trim());
  const typed = (operation?.[2] ?? text).trim();
  if (!NUMBER.test(typed)) return null;
  const number = Number(typed.replace("%", "").replace(",", ".")) / (typed.endsWith("%") ? 100 : 1);
  const results: Record<string, number> = {
    "+": present + number,
    "-": present - number,
    "*": present * number,
    "/": present / number,
  };
  const result = operation ? results[operation[1] ?? ""] : number;
  return result !== undefined && Number.isFinite(result) ? result : null;
}
