/** Numbers as Python's format codes write them, without their padding. */
import { spendText } from "./budget.js";
import { TemplateError } from "./errors.js";
import { fixed } from "./numbers.js";

/** Digits behind the point; more say nothing. */
const MAX_PRECISION = 1000;

/** A float by one of the codes e, f, g and %, in lower case or upper case; with its "-" where it is negative. */
export function floatCode(value: number, code: string, precision: number, alternate: boolean): string {
  if (precision > MAX_PRECISION) throw new TemplateError(`a precision of ${precision} digits is too large`);
  const lower = code.toLowerCase();
  const text = !Number.isFinite(value)
    ? `${Number.isNaN(value) ? "nan" : value < 0 ? "-inf" : "inf"}${lower === "%" ? "%" : ""}`
    : finiteCode(value, lower, precision, alternate);
  return code === lower ? text : text.toUpperCase();
}

function finiteCode(value: number, code: string, precision: number, alternate: boolean): string {
  switch (code) {
    case "f":
      return withPoint(fixed(value, precision), alternate);
    case "%":
      return `${withPoint(fixed(value * 100, precision), alternate)}%`;
    case "e":
      return withPoint(exponential(value, precision), alternate);
    default:
      return general(value, Math.max(1, precision), alternate);
  }
}

function withPoint(text: string, alternate: boolean): string {
  return alternate && !text.includes(".") ? text.replace(/(e|$)/, ".$1") : text;
}

function exponential(value: number, precision: number): string {
  const [mantissa = "", power = "0"] = value.toExponential(Math.min(precision, 100)).split("e");
  const sign = Object.is(value, -0) ? "-" : "";
  return `${sign}${mantissa}e${power.startsWith("-") ? "-" : "+"}${power.replace(/^[-+]/, "").padStart(2, "0")}`;
}

function general(value: number, precision: number, alternate: boolean): string {
  const exponent = value === 0 ? 0 : Number(value.toExponential(Math.min(precision - 1, 100)).split("e")[1]);
  const text =
    exponent < -4 || exponent >= precision
      ? exponential(value, precision - 1)
      : fixed(value, Math.max(0, precision - 1 - exponent));
  if (alternate || !text.includes(".")) return text;
  return text.replace(/\.?0+(e|$)/, "$1");
}

/** An int in the base of a code, without a sign. */
export function intCode(value: bigint, code: string, alternate: boolean): string {
  const own = value < 0n ? -value : value;
  const base = { x: 16, X: 16, o: 8, b: 2 }[code] ?? 10;
  const digits = own.toString(base);
  const prefix = alternate && base !== 10 ? `0${code}` : "";
  return prefix + (code === "X" ? digits.toUpperCase() : digits);
}

/** Digits before the point in groups: of 3, or of 4 for the bases of bits. */
export function grouped(digits: string, by: string, size: number): string {
  spendText(digits.length * 2);
  const [whole = "", ...rest] = digits.split(/(?=[.e])/);
  const first = whole.length % size || size;
  const groups = [whole.slice(0, first)];
  for (let i = first; i < whole.length; i += size) groups.push(whole.slice(i, i + size));
  return groups.join(by) + rest.join("");
}
