/** Python's operators, and its access to attributes and items as the sandbox of jinja2 allows it. */
import { spend, spendItems, spendText } from "./budget.js";
import { TemplateError } from "./errors.js";
import { methodOf } from "./methods.js";
import { floorDiv, modulo, numeric, power, product } from "./numbers.js";
import { printf } from "./printf.js";
import { compareTexts, pointsOf, repr, textSlice } from "./text.js";
import {
  Dict,
  DictView,
  isInt,
  isList,
  isNumber,
  iteratorOf,
  listOf,
  Namespace,
  PyObject,
  Range,
  Tuple,
  typeOf,
  Undefined,
  type Value,
} from "./values.js";

export type Arithmetic = "+" | "-" | "*" | "/" | "//" | "%" | "**";
export type Comparison = "==" | "!=" | "<" | "<=" | ">" | ">=";

export function equals(a: Value, b: Value): boolean {
  spend(1);
  if (a === b) return true;
  // Python's numbers are equal across their types; nothing else is.
  // biome-ignore lint/suspicious/noDoubleEquals: of a bigint and a number, which === never finds equal
  if (isNumber(a) && isNumber(b)) return numeric(a) == numeric(b);
  if (isList(a) && isList(b)) return sameItems(a, b);
  if (a instanceof Tuple && b instanceof Tuple) return sameItems(a.items, b.items);
  if (a instanceof Dict && b instanceof Dict) {
    return (
      a.length === b.length && a.entries().every(([key, value]) => b.has(key) && equals(value, b.get(key) ?? null))
    );
  }
  if (a instanceof Range && b instanceof Range) return sameItems(listOf(a), listOf(b));
  if (a instanceof DictView && b instanceof DictView && a.kind === b.kind && a.kind !== "values")
    return a.length === b.length && listOf(a).every((item) => contains(b, item));
  return a instanceof Undefined && b instanceof Undefined;
}

function sameItems(a: readonly Value[], b: readonly Value[]): boolean {
  return a.length === b.length && a.every((item, i) => equals(item, b[i] as Value));
}

export function compare(operator: Comparison, a: Value, b: Value): boolean {
  if (operator === "==") return equals(a, b);
  if (operator === "!=") return !equals(a, b);
  const order = orderOf(operator, a, b);
  switch (operator) {
    case "<":
      return order < 0;
    case "<=":
      return order <= 0;
    case ">":
      return order > 0;
    case ">=":
      return order >= 0;
  }
}

/** Below 0 where a comes first, NaN where neither does. Throws for what has no order. */
export function orderOf(operator: string, a: Value, b: Value): number {
  spend(1);
  if (a instanceof Undefined) return a.fail();
  if (b instanceof Undefined) return b.fail();
  if (typeof a === "string" && typeof b === "string") return compareTexts(a, b);
  if (isNumber(a) && isNumber(b)) {
    const [x, y] = [numeric(a), numeric(b)];
    return x < y ? -1 : x > y ? 1 : Number.isNaN(x) || Number.isNaN(y) ? Number.NaN : 0;
  }
  const [left, right] =
    isList(a) && isList(b) ? [a, b] : a instanceof Tuple && b instanceof Tuple ? [a.items, b.items] : [];
  if (left === undefined || right === undefined)
    throw new TemplateError(`'${operator}' not supported between instances of '${typeOf(a)}' and '${typeOf(b)}'`);
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const [x, y] = [left[i] as Value, right[i] as Value];
    if (!equals(x, y)) return orderOf(operator, x, y);
  }
  return left.length - right.length;
}

export function contains(container: Value, item: Value): boolean {
  if (typeof container === "string") {
    if (typeof item !== "string")
      throw new TemplateError(`'in <string>' requires string as left operand, not ${typeOf(item)}`);
    spendText(container.length);
    return container.includes(item);
  }
  if (container instanceof Dict) return container.has(item);
  const iterator = iteratorOf(container);
  if (iterator === undefined) throw new TemplateError(`argument of type '${typeOf(container)}' is not iterable`);
  for (let next = iterator.next(); next.done !== true; next = iterator.next())
    if (equals(next.value, item)) return true;
  return false;
}

export function arithmetic(operator: Arithmetic, a: Value, b: Value): Value {
  if (operator === "%" && typeof a === "string") return printf(a, b);
  if (a instanceof Undefined) return a.fail();
  if (b instanceof Undefined) return b.fail();
  if (isNumber(a) && isNumber(b)) return calculate(operator, numeric(a), numeric(b));
  if (operator === "+") return sum(a, b);
  if (operator === "*" && isInt(a)) return repeated(b, a, operator, a, b);
  if (operator === "*" && isInt(b)) return repeated(a, b, operator, a, b);
  return unsupported(operator, a, b);
}

function unsupported(operator: string, a: Value, b: Value): never {
  throw new TemplateError(`unsupported operand type(s) for ${operator}: '${typeOf(a)}' and '${typeOf(b)}'`);
}

function calculate(operator: Arithmetic, a: bigint | number, b: bigint | number): Value {
  switch (operator) {
    case "+":
      return typeof a === "bigint" && typeof b === "bigint" ? a + b : Number(a) + Number(b);
    case "-":
      return typeof a === "bigint" && typeof b === "bigint" ? a - b : Number(a) - Number(b);
    case "*":
      return product(a, b);
    case "/":
      if (Number(b) === 0) throw new TemplateError("division by zero");
      return Number(a) / Number(b);
    case "//":
      return floorDiv(a, b);
    case "%":
      return modulo(a, b);
    case "**":
      return power(a, b);
  }
}

function sum(a: Value, b: Value): Value {
  if (typeof a === "string") {
    if (typeof b !== "string") throw new TemplateError(`can only concatenate str (not "${typeOf(b)}") to str`);
    spendText(a.length + b.length);
    return a + b;
  }
  if (isList(a) && isList(b)) {
    spendItems(a.length + b.length);
    return [...a, ...b];
  }
  if (a instanceof Tuple && b instanceof Tuple) {
    spendItems(a.length + b.length);
    return new Tuple([...a.items, ...b.items]);
  }
  if (isList(a)) throw new TemplateError(`can only concatenate list (not "${typeOf(b)}") to list`);
  return unsupported("+", a, b);
}

function repeated(value: Value, times: bigint | boolean, operator: string, a: Value, b: Value): Value {
  const count = Math.max(0, Number(times));
  if (typeof value === "string") {
    spendText(value.length * count);
    return value.repeat(count);
  }
  const items = isList(value) ? value : value instanceof Tuple ? value.items : unsupported(operator, a, b);
  spendItems(items.length * count);
  const all = Array.from({ length: count }, () => items).flat();
  return isList(value) ? all : new Tuple(all);
}

export function negative(value: Value, operator: "-" | "+"): Value {
  if (value instanceof Undefined) return value.fail();
  if (!isNumber(value)) throw new TemplateError(`bad operand type for unary ${operator}: '${typeOf(value)}'`);
  const own = numeric(value);
  return operator === "-" ? -own : own;
}

export interface SliceBounds {
  readonly start: Value;
  readonly stop: Value;
  readonly step: Value;
}

export function sliceOf(value: Value, { start, stop, step }: SliceBounds): Value {
  if (value instanceof Undefined) return value.fail();
  const items =
    typeof value === "string"
      ? pointsOf(value)
      : isList(value)
        ? value
        : value instanceof Tuple
          ? value.items
          : undefined;
  if (value instanceof Range) return sliceOf(listOf(value), { start, stop, step });
  // A dict takes no slice, and the sandbox answers what cannot be subscribed with nothing.
  if (items === undefined) return new Undefined(`${typeOf(value)} object has no element slice`);
  const by = step === null ? 1 : sliceIndex(step);
  if (by === 0) throw new TemplateError("slice step cannot be zero");
  const { length } = items;
  const clamp = (at: Value, otherwise: number) => {
    if (at === null) return otherwise;
    const index = sliceIndex(at);
    const from = index < 0 ? index + length : index;
    return by > 0 ? Math.min(Math.max(from, 0), length) : Math.min(Math.max(from, -1), length - 1);
  };
  const begin = clamp(start, by > 0 ? 0 : length - 1);
  const end = clamp(stop, by > 0 ? length : -1);
  if (by === 1) {
    if (typeof value === "string") return textSlice(items as readonly string[] | string, begin, Math.max(begin, end));
    spend(Math.max(0, end - begin) >> 3);
    const part = (items as readonly Value[]).slice(begin, Math.max(begin, end));
    return isList(value) ? part : new Tuple(part);
  }
  const picked: Value[] = [];
  for (let i = begin; by > 0 ? i < end : i > end; i += by) picked.push(items[i] as Value);
  spend(picked.length);
  return typeof value === "string" ? picked.join("") : isList(value) ? picked : new Tuple(picked);
}

function sliceIndex(value: Value): number {
  if (value instanceof Undefined) return value.fail();
  if (!isInt(value)) throw new TemplateError("slice indices must be integers or None or have an __index__ method");
  return Math.max(-(2 ** 40), Math.min(2 ** 40, Number(value)));
}

/** `value[key]`: the item, or else the attribute of that name, or else an undefined value. */
export function itemOf(value: Value, key: Value): Value {
  if (value instanceof Undefined) return value.fail();
  const item = ownItem(value, key);
  if (item !== undefined) return item;
  const attribute = typeof key === "string" ? attributeOnly(value, key) : undefined;
  return attribute === undefined ? missing(value, key) : attribute;
}

/** `value.name`: the attribute, or else the item, or else an undefined value. */
export function attributeOf(value: Value, name: string): Value {
  if (value instanceof Undefined && !name.startsWith("__")) return value.fail();
  const attribute = attributeOnly(value, name);
  if (attribute !== undefined) return attribute;
  const item = ownItem(value, name);
  return item === undefined ? missing(value, name) : item;
}

function ownItem(value: Value, key: Value): Value | undefined {
  if (value instanceof Dict) return isList(key) || key instanceof Dict ? undefined : value.get(key);
  if (!isInt(key)) return undefined;
  const items =
    typeof value === "string"
      ? pointsOf(value)
      : value instanceof Tuple
        ? value.items
        : isList(value)
          ? value
          : undefined;
  const length = items?.length ?? (value instanceof Range ? value.length : 0);
  const index = Number(key) < 0 ? Number(key) + length : Number(key);
  if (!(index >= 0 && index < length)) return undefined;
  return items === undefined ? (value as Range).item(index) : (items[index] as Value);
}

/** `getattr(value, name)`; undefined where there is none. */
export function attributeOnly(value: Value, name: string): Value | undefined {
  const own = value instanceof PyObject ? value.attribute(name) : undefined;
  return own === undefined ? methodOf(value, name, ACCESS, equals) : own;
}

const ACCESS = { attribute: attributeOf, item: itemOf };

function missing(value: Value, key: Value): Undefined {
  const type =
    value === null ? "None" : value instanceof Namespace ? "jinja2.utils.Namespace object" : `${typeOf(value)} object`;
  return new Undefined(
    typeof key === "string" ? `${repr(type)} has no attribute ${repr(key)}` : `${type} has no element ${repr(key)}`,
  );
}

/** `sorted` with keys: stable, and in reverse stable too. */
export function sorted(items: readonly Value[], keyOf: (item: Value) => Value, reverse: boolean): Value[] {
  spendItems(items.length);
  const keyed = items.map((item) => ({ item, key: keyOf(item) }));
  const sign = reverse ? -1 : 1;
  return keyed.sort((a, b) => sign * (orderOf("<", a.key, b.key) || 0)).map(({ item }) => item);
}
