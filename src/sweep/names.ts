import { isRecord } from "../base/guards.js";
import type { SweptValues } from "../config/sweep.js";

/** Characters of a folder's name at most, so that every file system takes it. */
const LONGEST_NAME = 100;

/** A trial's own values, as a person reads them: `learningRate 1e-7, seed 2`. */
export function valuesText(values: SweptValues): string {
  return Object.entries(values)
    .map(([name, value]) => `${name} ${textOf(value)}`)
    .join(", ");
}

/** The name of a trial's folder: its number, and its own values: `02-learningRate-1e-7-seed-2`. */
export function folderName(number: number, values: SweptValues): string {
  const words = Object.entries(values).flatMap(([name, value]) => [name, textOf(value)]);
  const text = [String(number).padStart(2, "0"), ...words].join("-").replace(/[^\w.+-]+/g, "-");
  return text.slice(0, LONGEST_NAME).replace(/[-.]+$/, "");
}

/** The number that a folder's name begins with; 0 for none. */
export function numberOf(folder: string): number {
  return Number(/^(\d+)(?:-|$)/.exec(folder)?.[1] ?? 0);
}

function textOf(value: unknown): string {
  if (isRecord(value))
    return Object.entries(value)
      .map(([name, inner]) => `${name} ${textOf(inner)}`)
      .join(" ");
  if (Array.isArray(value)) return value.map(textOf).join(" ");
  if (typeof value !== "number") return String(value);
  const [plain, exponential] = [String(value), value.toExponential()];
  return exponential.length < plain.length ? exponential : plain;
}
