/** Numbers over steps, made small enough to be drawn and kept. */
import { at } from "../base/at.js";
import type { Line } from "./data.js";

/** Values of one line that are kept; a screen has fewer columns. */
export const MAX_POINTS = 20_000;
/** More are seen in no picture. */
const DIGITS = 5;

export function rounded(value: number): number | null {
  return Number.isFinite(value) ? Number(value.toPrecision(DIGITS)) : null;
}

/** @param steps of the values, ascending; null: the k-th value stands at step k */
export function lineOf(values: readonly number[], steps: readonly number[] | null = null, most = MAX_POINTS): Line {
  const kept = values.length <= most ? null : extremes(values, most);
  if (kept === null) return { steps, values: values.map(rounded) };
  return {
    steps: kept.map((k) => (steps === null ? k : at(steps, k))),
    values: kept.map((k) => rounded(at(values, k))),
  };
}

/** Places of the least and the greatest value of every piece, so that what stands out stays. */
function extremes(values: readonly number[], most: number): number[] {
  const piece = Math.ceil((2 * values.length) / most);
  const kept: number[] = [];
  for (let begin = 0; begin < values.length; begin += piece) {
    let [low, high] = [begin, begin];
    for (let k = begin + 1; k < Math.min(begin + piece, values.length); k++) {
      if (!(at(values, k) >= at(values, low))) low = k;
      if (!(at(values, k) <= at(values, high))) high = k;
    }
    kept.push(...(low === high ? [low] : [Math.min(low, high), Math.max(low, high)]));
  }
  return kept;
}
