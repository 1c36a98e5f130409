/** Python's `str` and `repr` of values, and what its texts are: sequences of code points. */
import { spendText } from "./budget.js";
import {
  Callable,
  Dict,
  DictView,
  isList,
  Namespace,
  type PyObject,
  Range,
  Tuple,
  Undefined,
  type Value,
} from "./values.js";
import { Output } from "./output.js";

/** What Python's `str.isspace` knows, in a character class. */
export const BLANKS = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

const ASTRAL = /[\ud800-\udbff][\udc00-\udfff]/;

/** The code points of a text, or the text itself where its UTF-16 units are its code points. */
export function pointsOf(text: string): readonly string[] | string {
  spendText(text.length);
  return ASTRAL.test(text) ? Array.from(text) : text;
}

export function textLength(text: string): number {
  return pointsOf(text).length;
}

export function textSlice(points: readonly string[] | string, begin: number, end: number): string {
  return typeof points === "string" ? points.slice(begin, end) : points.slice(begin, end).join("");
}

/** Order by code points, as Python has it; that of JavaScript is by UTF-16 units. */
export function compareTexts(a: string, b: string): number {
  if (a === b) return 0;
  if (!ASTRAL.test(a) && !ASTRAL.test(b)) return a < b ? -1 : 1;
  const [left, right] = [Array.from(a), Array.from(b)];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const difference = (left[i]?.codePointAt(0) ?? 0) - (right[i]?.codePointAt(0) ?? 0);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

/** `str(value)`. */
export function str(value: Value): string {
  if (typeof value === "string") return value;
  if (value instanceof Undefined) return "";
  return repr(value);
}

/** `repr(value)`. */
export function repr(value: Value): string {
  // A value that holds another many times over is small in memory and not on paper.
  const output = new Output();
  write(value, (text) => output.write(text));
  return output.text();
}

function write(value: Value, add: (text: string) => void): void {
  if (value === null) return add("None");
  switch (typeof value) {
    case "boolean":
      return add(value ? "True" : "False");
    case "bigint":
      return add(value.toString());
    case "number":
      return add(floatText(value));
    case "string":
      return add(quoted(value));
    default:
      return isList(value) ? writeItems("[", value, "]", add) : writeObject(value, add);
  }
}

function writeItems(open: string, items: Iterable<Value>, close: string, add: (text: string) => void): void {
  add(open);
  let first = true;
  for (const item of items) {
    if (!first) add(", ");
    first = false;
    write(item, add);
  }
  add(close);
}

function writeObject(value: PyObject, add: (text: string) => void): void {
  if (value instanceof Tuple) return writeItems("(", value.items, value.length === 1 ? ",)" : ")", add);
  if (value instanceof Dict) return writeEntries("{", value.entries(), "}", add);
  if (value instanceof DictView)
    return writeItems(`${value.type}([`, { [Symbol.iterator]: () => value.iterate() }, "])", add);
  if (value instanceof Namespace) return writeEntries("<Namespace {", [...value.attributes], "}>", add);
  if (value instanceof Undefined) return add("Undefined");
  if (value instanceof Range)
    return add(`range(${value.start}, ${value.stop}${value.step === 1n ? "" : `, ${value.step}`})`);
  add(value instanceof Callable ? `<${value.type} ${value.name}>` : `<${value.type} object>`);
}

function writeEntries(
  open: string,
  entries: readonly (readonly [Value, Value])[],
  close: string,
  add: (text: string) => void,
): void {
  add(open);
  for (const [i, [key, value]] of entries.entries()) {
    if (i > 0) add(", ");
    write(key, add);
    add(": ");
    write(value, add);
  }
  add(close);
}

/** The shortest text that is the same float, as Python lays it out. */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value < 0 ? "-inf" : "inf";
  const [mantissa = "", power = "0"] = value.toExponential().split("e");
  const exponent = Number(power);
  const sign = value < 0 || Object.is(value, -0) ? "-" : "";
  const digits = mantissa.replace(/[-.]/g, "");
  if (exponent < -4 || exponent >= 16) {
    const point = digits.length > 1 ? `${digits.slice(0, 1)}.${digits.slice(1)}` : digits;
    return `${sign}${point}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
  }
  if (exponent < 0) return `${sign}0.${"0".repeat(-exponent - 1)}${digits}`;
  const whole = digits.padEnd(exponent + 1, "0");
  return `${sign}${whole.slice(0, exponent + 1)}.${whole.slice(exponent + 1) || "0"}`;
}

const ESCAPES: Readonly<Record<string, string>> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" };
/** What Python does not print in a `repr`. */
const UNPRINTED = /[\\\p{C}\p{Zl}\p{Zp}\p{Zs}]/gu;

function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const body = text.replace(UNPRINTED, (char) => (char === " " ? char : (ESCAPES[char] ?? escaped(char))));
  return `${quote}${quote === "'" ? body.replaceAll("'", "\\'") : body}${quote}`;
}

function escaped(char: string): string {
  const code = char.codePointAt(0) ?? 0;
  const hex = (digits: number) => code.toString(16).padStart(digits, "0");
  return code < 0x100 ? `\\x${hex(2)}` : code < 0x10000 ? `\\u${hex(4)}` : `\\U${hex(8)}`;
}

/** `ascii(value)`. */
export function ascii(value: Value): string {
  return repr(value).replace(/\P{ASCII}/gu, escaped);
}
