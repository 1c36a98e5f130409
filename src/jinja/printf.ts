/** Python's `text % values`. */
import { spendText } from "./budget.js";
import { TemplateError } from "./errors.js";
import { floatCode, intCode } from "./number-text.js";
import { numeric } from "./numbers.js";
import { ascii, pointsOf, repr, str, textLength, textSlice } from "./text.js";
import { Dict, isInt, isList, isNumber, PyObject, Tuple, typeOf, Undefined, type Value } from "./values.js";

const DIRECTIVE = /%(?:\(([^()]*)\))?([-+ #0]*)(\*|\d+)?(?:\.(\*|\d*))?[hlL]?([\s\S]?)/g;

export function printf(format: string, given: Value): string {
  const values = given instanceof Tuple ? given.items : [given];
  let used = 0;
  let byName = false;
  const next = (): Value => {
    if (used >= values.length) throw new TemplateError("not enough arguments for format string");
    return values[used++] as Value;
  };
  const nextInt = (): number => {
    const value = next();
    if (!isInt(value)) throw new TemplateError("* wants int");
    return Number(value);
  };
  const text = format.replace(DIRECTIVE, (_, name, flags: string, width, precision, code: string) => {
    if (code === "%") return "%";
    if (code === "") throw new TemplateError("incomplete format");
    const least = width === "*" ? nextInt() : Number(width ?? 0);
    const digits = precision === "*" ? nextInt() : precision === undefined ? undefined : Number(precision);
    if (name !== undefined) byName = true;
    const value = name === undefined ? next() : lookUp(given, name);
    const written = convert(value, flags, digits, code);
    return padded(written, least < 0 ? `${flags}-` : flags, Math.abs(least), /[diuxXoeEfFgG]/.test(code));
  });
  const isMapping = given instanceof Dict || isList(given) || (given instanceof PyObject && !(given instanceof Tuple));
  if (!byName && used < values.length && !isMapping)
    throw new TemplateError("not all arguments converted during string formatting");
  return text;
}

function lookUp(given: Value, name: string): Value {
  if (!(given instanceof Dict)) throw new TemplateError("format requires a mapping");
  const value = given.get(name);
  if (value === undefined) throw new TemplateError(`KeyError: ${repr(name)}`);
  return value;
}

function convert(value: Value, flags: string, precision: number | undefined, code: string): string {
  switch (code) {
    case "s":
    case "r":
    case "a": {
      const text = code === "s" ? str(value) : code === "r" ? repr(value) : ascii(value);
      return precision === undefined ? text : textSlice(pointsOf(text), 0, precision);
    }
    case "c":
      if (typeof value === "string" && textLength(value) === 1) return value;
      if (isInt(value) && Number(value) >= 0 && Number(value) < 0x110000) return String.fromCodePoint(Number(value));
      throw new TemplateError("%c requires int or char");
    case "d":
    case "i":
    case "u":
    case "x":
    case "X":
    case "o": {
      const whole =
        typeof value === "number" && Number.isFinite(value) && /[diu]/.test(code) ? BigInt(Math.trunc(value)) : value;
      if (whole instanceof Undefined) return whole.fail();
      if (!isInt(whole)) {
        const wanted = /[diu]/.test(code) ? "a real number" : "an integer";
        throw new TemplateError(`%${code} format: ${wanted} is required, not ${typeOf(value)}`);
      }
      const own = BigInt(whole);
      const digits = intCode(own, code, false).padStart(Math.min(precision ?? 0, 1000), "0");
      return signOf(own < 0n, flags) + (flags.includes("#") && /[xXo]/.test(code) ? `0${code}` : "") + digits;
    }
    case "e":
    case "E":
    case "f":
    case "F":
    case "g":
    case "G": {
      if (!isNumber(value)) throw new TemplateError(`must be real number, not ${typeOf(value)}`);
      const text = floatCode(Number(numeric(value)), code, precision ?? 6, flags.includes("#"));
      const negative = text.startsWith("-");
      return signOf(negative, flags) + (negative ? text.slice(1) : text);
    }
    default:
      throw new TemplateError(`unsupported format character '${code}'`);
  }
}

function signOf(negative: boolean, flags: string): string {
  return negative ? "-" : flags.includes("+") ? "+" : flags.includes(" ") ? " " : "";
}

function padded(text: string, flags: string, width: number, isNumeric: boolean): string {
  const missing = width - textLength(text);
  if (missing <= 0) return text;
  spendText(width);
  if (flags.includes("-")) return text + " ".repeat(missing);
  if (!flags.includes("0") || !isNumeric) return " ".repeat(missing) + text;
  const [sign = ""] = /^[-+ ]?(?:0[xXo])?/.exec(text) ?? [];
  return sign + "0".repeat(missing) + text.slice(sign.length);
}
