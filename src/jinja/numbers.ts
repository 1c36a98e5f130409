/** Python's arithmetic of ints (bigint) and floats (number), exact where Python's is. */
import { ConversionError, TemplateError } from "./errors.js";
import { isNumber, typeOf, type Value } from "./values.js";

type Num = bigint | number;

/** Bits of the largest int that a power may give. */
const MAX_BITS = 2 ** 16;

/** A number's own value, a bool's as an int. */
export function numeric(value: bigint | number | boolean): Num {
  return typeof value === "boolean" ? (value ? 1n : 0n) : value;
}

export function floorDiv(a: Num, b: Num): Num {
  if (Number(b) === 0) throw new TemplateError("integer division or modulo by zero");
  if (typeof a === "number" || typeof b === "number") return Math.floor(Number(a) / Number(b));
  const quotient = a / b;
  return a % b !== 0n && a < 0n !== b < 0n ? quotient - 1n : quotient;
}

export function modulo(a: Num, b: Num): Num {
  if (Number(b) === 0) throw new TemplateError("integer division or modulo by zero");
  if (typeof a === "number" || typeof b === "number") {
    const [x, y] = [Number(a), Number(b)];
    const rest = x % y;
    return rest !== 0 && rest < 0 !== y < 0 ? rest + y : rest;
  }
  const rest = a % b;
  return rest !== 0n && rest < 0n !== b < 0n ? rest + b : rest;
}

export function power(a: Num, b: Num): Num {
  if (typeof a === "number" || typeof b === "number" || b < 0n) {
    if (Number(a) === 0 && Number(b) < 0) throw new TemplateError("0.0 cannot be raised to a negative power");
    return Number(a) ** Number(b);
  }
  const bits = a.toString(2).length;
  if (bits > 2 && BigInt(bits) * b > MAX_BITS)
    throw new TemplateError(`${bits} bits to the power of ${b} is too large`);
  return a ** b;
}

/** A product, unless it were too large to be of use. */
export function product(a: Num, b: Num): Num {
  if (typeof a === "number" || typeof b === "number") return Number(a) * Number(b);
  const result = a * b;
  if (result > MAX_INT || result < -MAX_INT) throw new TemplateError("an int of more than 131072 bits");
  return result;
}

const MAX_INT = 1n << BigInt(2 * MAX_BITS);

/** `int(text, base)`: undefined for what is none. */
export function parseInteger(text: string, base = 10): bigint | undefined {
  const match = /^([+-]?)(0[xXoObB])?(\w+)$/.exec(text.trim());
  if (match === null) return undefined;
  const [, sign = "", prefix = "", body = ""] = match;
  const implied = { "0x": 16, "0o": 8, "0b": 2 }[prefix.toLowerCase()];
  const radix = base === 0 ? (implied ?? 10) : base;
  if (implied !== undefined && implied !== radix) return undefined;
  if (!/^[0-9a-z]+(_[0-9a-z]+)*$/i.test(body) || body.length > 4300) return undefined;
  let value = 0n;
  for (const digit of body.replaceAll("_", "")) {
    const worth = Number.parseInt(digit, 36);
    if (!(worth < radix)) return undefined;
    value = value * BigInt(radix) + BigInt(worth);
  }
  return sign === "-" ? -value : value;
}

/** `float(text)`: undefined for what is none. */
export function parseFloating(text: string): number | undefined {
  const body = text.trim().toLowerCase();
  if (/^[+-]?(inf|infinity)$/.test(body)) return body.startsWith("-") ? -Infinity : Infinity;
  if (/^[+-]?nan$/.test(body)) return Number.NaN;
  const digits = "[0-9]+(?:_[0-9]+)*";
  if (!new RegExp(`^[+-]?(?:${digits}\\.?(?:${digits})?|\\.${digits})(?:e[+-]?${digits})?$`).test(body))
    return undefined;
  return Number(body.replaceAll("_", ""));
}

/** `int(value)`. */
export function toInt(value: Value, base = 10): bigint {
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new ConversionError(`cannot convert float ${value} to integer`);
    return BigInt(Math.trunc(value));
  }
  if (isNumber(value)) return BigInt(value);
  const parsed = typeof value === "string" ? parseInteger(value, base) : undefined;
  if (parsed === undefined) throw new ConversionError(`no integer in a ${typeOf(value)}`);
  return parsed;
}

/** x * 10^digits, rounded half to even without any error on the way. */
export function scaledInteger(x: number, digits: number): bigint {
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, Math.abs(x));
  const raw = bits.getBigUint64(0);
  const exponent = Number(raw >> 52n);
  const fraction = raw & 0xfffffffffffffn;
  let top = exponent === 0 ? fraction : fraction | 0x10000000000000n;
  const shift = Math.max(exponent, 1) - 1075;
  let bottom = 1n;
  if (digits >= 0) top *= 10n ** BigInt(digits);
  else bottom *= 10n ** BigInt(-digits);
  if (shift >= 0) top <<= BigInt(shift);
  else bottom <<= BigInt(-shift);
  return x < 0 ? -halfEven(top, bottom) : halfEven(top, bottom);
}

function halfEven(top: bigint, bottom: bigint): bigint {
  const quotient = top / bottom;
  const twice = (top % bottom) * 2n;
  return twice > bottom || (twice === bottom && quotient % 2n === 1n) ? quotient + 1n : quotient;
}

/** `round(x, digits)`. */
export function rounded(x: Num, digits: number): Num {
  if (typeof x === "bigint") {
    if (digits >= 0) return x;
    const unit = 10n ** BigInt(Math.min(-digits, 400));
    const whole = halfEven(x < 0n ? -x : x, unit) * unit;
    return x < 0n ? -whole : whole;
  }
  if (!Number.isFinite(x) || x === 0 || digits > 323) return x;
  if (digits < -308) return x < 0 ? -0 : 0;
  const scaled = scaledInteger(x, digits);
  return scaled === 0n ? (x < 0 ? -0 : 0) : Number(`${scaled}e${-digits}`);
}

/** `"%.<digits>f" % x`, without a sign for what is not negative. */
export function fixed(x: number, digits: number): string {
  const negative = x < 0 || Object.is(x, -0);
  const scaled = scaledInteger(Math.abs(x), digits)
    .toString()
    .padStart(digits + 1, "0");
  const point = scaled.length - digits;
  return `${negative ? "-" : ""}${scaled.slice(0, point)}${digits === 0 ? "" : `.${scaled.slice(point)}`}`;
}
