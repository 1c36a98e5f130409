/** Python's `str.format`, with the sandbox's access to attributes and items. */
import { spendText } from "./budget.js";
import { TemplateError } from "./errors.js";
import { floatCode, grouped, intCode } from "./number-text.js";
import { numeric } from "./numbers.js";
import { ascii, floatText, pointsOf, repr, str, textLength, textSlice } from "./text.js";
import { isInt, isNumber, type Named, typeOf, Undefined, type Value } from "./values.js";

export interface Access {
  readonly attribute: (value: Value, name: string) => Value;
  readonly item: (value: Value, key: Value) => Value;
}

/** How deep a field's format may hold fields of its own. */
const MAX_DEPTH = 2;

export function formatText(template: string, args: readonly Value[], named: Named, access: Access): string {
  let automatic = 0;
  const root = (name: string): Value => {
    if (name === "" || /^\d+$/.test(name)) {
      const index = name === "" ? automatic++ : Number(name);
      const value = args[index];
      if (value === undefined) throw new TemplateError("Replacement index is out of range for positional args tuple");
      return value;
    }
    const value = named.get(name);
    if (value === undefined) throw new TemplateError(`KeyError: ${repr(name)}`);
    return value;
  };
  return expand(template, (field) => fieldValue(field, root, access), 0);
}

function expand(template: string, lookUp: (field: string) => Value, depth: number): string {
  if (depth >= MAX_DEPTH) throw new TemplateError("Max string recursion exceeded");
  let result = "";
  for (let i = 0; i < template.length; i++) {
    const c = template[i] as string;
    if (c !== "{" && c !== "}") {
      result += c;
    } else if (template[i + 1] === c) {
      result += c;
      i++;
    } else if (c === "}") {
      throw new TemplateError("Single '}' encountered in format string");
    } else {
      const end = closing(template, i);
      const [, name = "", conversion, spec = ""] =
        /^([^!:]*(?:\[[^\]]*\][^!:]*)*)(?:!(.?))?(?::([\s\S]*))?$/.exec(template.slice(i + 1, end)) ?? [];
      const value = lookUp(name);
      const filled = spec.includes("{") ? expand(spec, lookUp, depth + 1) : spec;
      result +=
        conversion === undefined ? formatValue(value, filled) : formatValue(converted(value, conversion), filled);
      i = end;
    }
    spendText(result.length >> 6);
  }
  return result;
}

function closing(template: string, open: number): number {
  let depth = 0;
  for (let i = open; i < template.length; i++) {
    if (template[i] === "{") depth++;
    if (template[i] === "}") depth -= 1;
    if (depth === 0) return i;
  }
  throw new TemplateError("expected '}' before end of string");
}

function fieldValue(field: string, root: (name: string) => Value, access: Access): Value {
  const [, first = "", path = ""] = /^([^.[]*)([\s\S]*)$/.exec(field) ?? [];
  let value = root(first);
  for (const [, attribute, key] of path.matchAll(/\.([^.[]+)|\[([^\]]+)\]/g)) {
    value =
      attribute !== undefined
        ? access.attribute(value, attribute)
        : access.item(value, /^\d+$/.test(key ?? "") ? BigInt(key ?? 0) : (key ?? ""));
  }
  return value;
}

function converted(value: Value, conversion: string): Value {
  switch (conversion) {
    case "s":
      return str(value);
    case "r":
      return repr(value);
    case "a":
      return ascii(value);
    default:
      throw new TemplateError(`Unknown conversion specifier '${conversion}'`);
  }
}

const SPEC = /^(?:([\s\S])?([<>=^]))?([-+ ])?(z)?(#)?(0)?(\d+)?([,_])?(?:\.(\d+))?([bcdeEfFgGnosxX%])?$/u;

/** `format(value, spec)`. */
export function formatValue(value: Value, spec: string): string {
  if (spec === "") return str(value);
  const match = SPEC.exec(spec);
  if (match === null)
    throw new TemplateError(`Invalid format specifier '${spec}' for object of type '${typeOf(value)}'`);
  const [, fill, align, sign = "-", , alternate, zero, width = "0", group, precision, code] = match;
  const isText = typeof value === "string";
  if (!isText && !isNumber(value)) {
    if (value instanceof Undefined) return value.fail();
    throw new TemplateError(`unsupported format string passed to ${typeOf(value)}.__format__`);
  }
  const number = isText ? undefined : numberText(value, code, precision, group, alternate === "#");
  const text =
    number?.digits ?? textSlice(pointsOf(str(value)), 0, precision === undefined ? Infinity : Number(precision));
  if (isText && code !== undefined && code !== "s")
    throw new TemplateError(`Unknown format code '${code}' for object of type 'str'`);
  const head = number === undefined ? "" : number.negative ? "-" : sign === "-" ? "" : sign;
  const missing = Math.max(0, Number(width) - textLength(text) - head.length);
  spendText(missing);
  const pad = fill ?? (zero === "0" ? "0" : " ");
  switch (align ?? (isText ? "<" : zero === "0" ? "=" : ">")) {
    case "<":
      return head + text + pad.repeat(missing);
    case "^":
      return pad.repeat(missing >> 1) + head + text + pad.repeat(missing - (missing >> 1));
    case "=":
      return head + pad.repeat(missing) + text;
    default:
      return pad.repeat(missing) + head + text;
  }
}

function numberText(
  value: bigint | number | boolean,
  code: string | undefined,
  precision: string | undefined,
  group: string | undefined,
  alternate: boolean,
): { digits: string; negative: boolean } {
  // A bool is an int wherever a code is given, and a word where none is.
  const own = numeric(value);
  if (code === "s") throw new TemplateError(`Unknown format code 's' for object of type '${typeOf(value)}'`);
  const asInt = isInt(value) && (code === undefined || /[bcdnoxX]/.test(code));
  if (asInt && precision !== undefined) throw new TemplateError("Precision not allowed in integer format specifier");
  if (!asInt && code !== undefined && /[bcdoxX]/.test(code))
    throw new TemplateError(`Unknown format code '${code}' for object of type '${typeOf(value)}'`);
  if (asInt && code === "c") return { digits: String.fromCodePoint(Number(own)), negative: false };
  const text = asInt
    ? intCode(own as bigint, code ?? "d", alternate)
    : floatDigits(Number(own), code, precision, alternate);
  const negative = asInt ? own < 0 : text.startsWith("-");
  const digits = !asInt && negative ? text.slice(1) : text;
  if (group === undefined) return { digits, negative };
  return { digits: grouped(digits, group, code !== undefined && /[boxX]/.test(code) ? 4 : 3), negative };
}

function floatDigits(
  value: number,
  code: string | undefined,
  precision: string | undefined,
  alternate: boolean,
): string {
  if (code !== undefined) return floatCode(value, code === "n" ? "g" : code, Number(precision ?? 6), alternate);
  if (precision === undefined) return floatText(value);
  const text = floatCode(value, "g", Number(precision), alternate);
  // Without a code a float keeps a digit behind its point.
  return /[.en]/.test(text) ? text : `${text}.0`;
}
