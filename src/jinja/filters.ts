/** jinja2's filters, and transformers' `tojson`. */
import { bind, flag, needed, needInt, needText } from "./arguments.js";
import { spendItems, spendText } from "./budget.js";
import { ConversionError, TemplateError } from "./errors.js";
import { toJson } from "./json.js";
import { fixed, numeric, parseFloating, rounded, toInt } from "./numbers.js";
import { arithmetic, attributeOnly, equals, itemOf, orderOf, sorted } from "./operators.js";
import { printf } from "./printf.js";
import { capitalized, joined, pad, replaced, splitLines, stripped, titleWords } from "./string-methods.js";
import { pointsOf, str, textLength, textSlice } from "./text.js";
import { TESTS, testNamed } from "./tests.js";
import {
  Dict,
  hashOf,
  isList,
  isNumber,
  isTrue,
  Iter,
  iterate,
  listOf,
  type Named,
  type PyObject,
  Tuple,
  typeOf,
  Undefined,
  type Value,
} from "./values.js";

export type Filter = (value: Value, args: readonly Value[], named: Named) => Value;

/** Throws jinja2's words for a filter that does not exist. */
export function filterNamed(name: string): Filter {
  const filter = FILTERS.get(name);
  if (filter === undefined) throw new TemplateError(`No filter named '${name}'.`);
  return filter;
}

/** A filter of a text alone. */
function ofText(change: (text: string) => string): Filter {
  return (value) => {
    const text = str(value);
    spendText(text.length);
    return change(text);
  };
}

/** The function that takes an attribute ("a.b", "a.0", 0) of an item; the item itself for none. */
function getter(attribute: Value | undefined, otherwise?: Value): (item: Value) => Value {
  if (attribute === undefined || attribute === null) return (item) => item;
  const path: Value[] =
    typeof attribute === "string"
      ? attribute.split(".").map((part) => (/^\p{Nd}+$/u.test(part) ? BigInt(part) : part))
      : [attribute];
  return (item) => {
    let value = item;
    for (const key of path) {
      value = itemOf(value, key);
      if (value instanceof Undefined && otherwise !== undefined && otherwise !== null) value = otherwise;
    }
    return value;
  };
}

const lower = (value: Value): Value => (typeof value === "string" ? value.toLowerCase() : value);

function sortKey(attribute: Value | undefined, caseSensitive: boolean): (item: Value) => Value {
  const fold = caseSensitive ? (value: Value) => value : lower;
  if (typeof attribute !== "string") {
    const get = getter(attribute);
    return (item) => fold(get(item));
  }
  const getters = attribute.split(",").map((part) => getter(part));
  return (item) => new Tuple(getters.map((get) => fold(get(item))));
}

function changeOf(args: readonly Value[], named: Named): (item: Value) => Value {
  if (args.length === 0 && named.has("attribute")) {
    const { attribute, default: otherwise } = bind("map", ["attribute", "default"], [], named);
    return getter(attribute, otherwise);
  }
  const [name, ...rest] = args;
  if (name === undefined) throw new TemplateError("map requires a filter argument");
  const filter = filterNamed(needText("map", name));
  return (item) => filter(item, rest, named);
}

function mapping(value: Value, args: readonly Value[], named: Named): Value {
  const items = function* (): Generator<Value> {
    if (!isTrue(value)) return;
    const change = changeOf(args, named);
    for (const item of iterate(value)) yield change(item);
  };
  return new Iter(items());
}

function selecting(wanted: boolean, byAttribute: boolean): Filter {
  return (value, args) => {
    const items = function* (): Generator<Value> {
      if (!isTrue(value)) return;
      if (byAttribute && args.length === 0) throw new TemplateError("Missing parameter for attribute name");
      const get = byAttribute ? getter(args[0]) : (item: Value) => item;
      const [name, ...rest] = byAttribute ? args.slice(1) : args;
      const test = name === undefined ? isTrue : testNamed(needText("select", name));
      for (const item of iterate(value)) if (test(get(item), rest) === wanted) yield item;
    };
    return new Iter(items());
  };
}

function extreme(name: "min" | "max"): Filter {
  return (value, args, named) => {
    const { case_sensitive, attribute } = bind(name, ["case_sensitive", "attribute"], args, named);
    const get = getter(attribute);
    const keyOf = (item: Value) => (flag(case_sensitive) ? get(item) : lower(get(item)));
    let best: { item: Value; key: Value } | undefined;
    for (const item of iterate(value)) {
      const key = keyOf(item);
      const order = best === undefined ? 0 : orderOf(name === "min" ? "<" : ">", key, best.key);
      if (best === undefined || (name === "min" ? order < 0 : order > 0)) best = { item, key };
    }
    return best === undefined ? new Undefined("No aggregated item, sequence was empty.") : best.item;
  };
}

function lengthOf(value: Value): Value {
  const length =
    typeof value === "string" ? textLength(value) : isList(value) ? value.length : (value as PyObject | null)?.length;
  if (typeof length !== "number") throw new TemplateError(`object of type '${typeOf(value)}' has no len()`);
  return BigInt(length);
}

function last(value: Value): Value {
  const items = typeof value === "string" ? Array.from(value) : reversible(value);
  return items.at(-1) ?? (items.length > 0 ? null : new Undefined("No last item, sequence was empty."));
}

function reversible(value: Value): readonly Value[] {
  if (value instanceof Iter) throw new TemplateError(`'${value.type}' object is not reversible`);
  return listOf(value);
}

function indented(value: Value, args: readonly Value[], named: Named): Value {
  const { width, first, blank } = bind("indent", ["width", "first", "blank"], args, named);
  if (typeof value !== "string" && !(value instanceof Undefined))
    throw new TemplateError(`unsupported operand type(s) for +=: '${typeOf(value)}' and 'str'`);
  if (value instanceof Undefined) return value.fail();
  const size = typeof width === "string" ? 0 : Math.max(0, needInt("indent", width, 4));
  spendText(size);
  const by = typeof width === "string" ? width : " ".repeat(size);
  const lines = splitLines(`${value}\n`);
  spendText(value.length + by.length * lines.length);
  const rest = lines.slice(1).map((line) => (line !== "" || flag(blank) ? by + line : line));
  return (flag(first) ? by : "") + [lines[0] ?? "", ...rest].join("\n");
}

function round(value: Value, args: readonly Value[], named: Named): Value {
  const { precision, method } = bind("round", ["precision", "method"], args, named);
  const how = method ?? "common";
  if (how !== "common" && how !== "ceil" && how !== "floor")
    throw new TemplateError("method must be common, ceil or floor");
  if (!isNumber(value)) throw new TemplateError(`type ${typeOf(value)} doesn't define __round__ method`);
  const own = numeric(value);
  if (how === "common") return rounded(own, precision === null ? 0 : needInt("round", precision, 0));
  const unit = arithmetic("**", 10n, precision ?? 0n);
  const scaled = Number(numeric(arithmetic("*", own, unit) as number));
  const whole = how === "ceil" ? Math.ceil(scaled) : Math.floor(scaled);
  return arithmetic("/", BigInt(whole), unit);
}

function total(value: Value, args: readonly Value[], named: Named): Value {
  const { attribute, start } = bind("sum", ["attribute", "start"], args, named);
  const get = getter(attribute);
  let sum: Value = start ?? 0n;
  if (typeof sum === "string") throw new TemplateError("sum() can't sum strings [use ''.join(seq) instead]");
  for (const item of iterate(value)) sum = arithmetic("+", sum, get(item));
  return sum;
}

function truncated(value: Value, args: readonly Value[], named: Named): Value {
  const { length, killwords, end, leeway } = bind("truncate", ["length", "killwords", "end", "leeway"], args, named);
  const text = value instanceof Undefined ? "" : needText("truncate", value);
  const most = needInt("truncate", length, 255);
  const tail = end === undefined ? "..." : str(end);
  const points = pointsOf(text);
  if (most < textLength(tail)) throw new TemplateError(`expected length >= ${textLength(tail)}, got ${most}`);
  if (points.length <= most + needInt("truncate", leeway === null ? undefined : leeway, 5)) return text;
  const cut = textSlice(points, 0, most - textLength(tail));
  if (flag(killwords)) return cut + tail;
  const blank = cut.lastIndexOf(" ");
  return (blank < 0 ? cut : cut.slice(0, blank)) + tail;
}

function batches(value: Value, args: readonly Value[], named: Named): Value {
  const { linecount, fill_with } = bind("batch", ["linecount", "fill_with"], args, named);
  const size = needInt("batch", needed("batch", "linecount", linecount), 0);
  const items = function* (): Generator<Value> {
    let group: Value[] = [];
    for (const item of iterate(value)) {
      if (group.length === size) {
        yield group;
        group = [];
      }
      group.push(item);
    }
    if (group.length === 0) return;
    const missing = fill_with === undefined || fill_with === null ? 0 : Math.max(0, size - group.length);
    spendItems(missing);
    yield [...group, ...Array.from({ length: missing }, () => fill_with ?? null)];
  };
  return new Iter(items());
}

function slices(value: Value, args: readonly Value[], named: Named): Value {
  const { slices: count, fill_with } = bind("slice", ["slices", "fill_with"], args, named);
  const parts = needInt("slice", needed("slice", "slices", count), 0);
  if (parts === 0) throw new TemplateError("integer division or modulo by zero");
  const items = function* (): Generator<Value> {
    const all = listOf(value);
    const size = Math.floor(all.length / parts);
    const extra = all.length % parts;
    let at = 0;
    for (let i = 0; i < parts; i++) {
      const end = at + size + (i < extra ? 1 : 0);
      const part = all.slice(at, end);
      spendItems(part.length);
      yield fill_with !== undefined && fill_with !== null && i >= extra ? [...part, fill_with] : part;
      at = end;
    }
  };
  return new Iter(items());
}

function groups(value: Value, args: readonly Value[], named: Named): Value {
  const bound = bind("groupby", ["attribute", "default", "case_sensitive"], args, named);
  const get = getter(needed("groupby", "attribute", bound.attribute), bound.default);
  const keyOf = (item: Value) => (flag(bound.case_sensitive) ? get(item) : lower(get(item)));
  const found: { key: Value; items: Value[] }[] = [];
  for (const item of sorted(listOf(value), keyOf, false)) {
    const group = found.at(-1);
    if (group !== undefined && equals(group.key, keyOf(item))) group.items.push(item);
    else found.push({ key: keyOf(item), items: [item] });
  }
  return found.map(({ key, items }) => new Group(flag(bound.case_sensitive) ? key : get(items[0] as Value), items));
}

/** What `groupby` gives: a pair whose parts have names. */
class Group extends Tuple {
  constructor(key: Value, list: readonly Value[]) {
    super([key, list]);
  }
  override attribute(name: string): Value | undefined {
    return name === "grouper" ? this.items[0] : name === "list" ? this.items[1] : undefined;
  }
}

function* uniqueItems(value: Value, keyOf: (item: Value) => Value): Generator<Value> {
  const seen = new Set<unknown>();
  for (const item of iterate(value)) {
    const key = hashOf(keyOf(item));
    if (!seen.has(key)) yield item;
    seen.add(key);
  }
}

function orDefault(convert: () => Value, given: Value | undefined, otherwise: Value): Value {
  try {
    return convert();
  } catch (error) {
    if (error instanceof ConversionError) return given === undefined ? otherwise : given;
    throw error;
  }
}

function floatOf(value: Value): number {
  if (value instanceof Undefined) return value.fail();
  const number = typeof value === "string" ? parseFloating(value) : isNumber(value) ? Number(value) : undefined;
  if (number === undefined) throw new ConversionError(`no number in a ${typeOf(value)}`);
  return number;
}

function dictSorted(value: Value, args: readonly Value[], named: Named): Value {
  const { case_sensitive, by, reverse } = bind("dictsort", ["case_sensitive", "by", "reverse"], args, named);
  if (value instanceof Undefined) return value.fail();
  if (!(value instanceof Dict)) throw new TemplateError(`'${typeOf(value)}' object has no attribute 'items'`);
  if (by !== undefined && by !== "key" && by !== "value")
    throw new TemplateError('You can only sort by either "key" or "value"');
  const at = by === "value" ? 1 : 0;
  const keyOf = (pair: Value) => {
    const key = (pair as Tuple).items[at] as Value;
    return flag(case_sensitive) ? key : lower(key);
  };
  return sorted(
    value.entries().map((entry) => new Tuple(entry)),
    keyOf,
    flag(reverse),
  );
}

const HTML: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;" };
const forHtml = ofText((text) => text.replace(/[&<>"']/g, (char) => HTML[char] ?? char));
const count: Filter = (value) => lengthOf(value);
const otherwise: Filter = (value, args, named) => {
  const { default_value, boolean } = bind("default", ["default_value", "boolean"], args, named);
  if (!(value instanceof Undefined) && !(flag(boolean) && !isTrue(value))) return value;
  return default_value === undefined ? "" : default_value;
};

function quotedUrl(value: Value, inQuery: boolean): string {
  // What stays as it is: letters, digits, "_.-~", and "/" outside of a query.
  const text = encodeURIComponent(str(value)).replace(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return inQuery ? text.replaceAll("%20", "+") : text.replaceAll("%2F", "/");
}

function fileSize(value: Value, args: readonly Value[], named: Named): Value {
  const binary = flag(bind("filesizeformat", ["binary"], args, named).binary);
  const bytes = floatOf(value);
  const base = binary ? 1024 : 1000;
  if (bytes === 1) return "1 Byte";
  if (bytes < base) return `${Math.trunc(bytes)} Bytes`;
  const prefixes = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
  const power = prefixes.findIndex((_, i) => bytes < base ** (i + 2));
  const i = power < 0 ? prefixes.length - 1 : power;
  const prefix = binary ? `${(prefixes[i] as string).toUpperCase()}iB` : `${prefixes[i]}B`;
  return `${fixed((base * bytes) / base ** (i + 2), 1)} ${prefix}`;
}

export const FILTERS: ReadonlyMap<string, Filter> = new Map<string, Filter>([
  [
    "abs",
    (value) => {
      if (!isNumber(value)) throw new TemplateError(`bad operand type for abs(): '${typeOf(value)}'`);
      const own = numeric(value);
      return own < 0 || Object.is(own, -0) ? -own : own;
    },
  ],
  [
    "attr",
    (value, [name = null]) => {
      const attribute = attributeOnly(value, needText("attr", name));
      return attribute === undefined
        ? new Undefined(`'${typeOf(value)} object' has no attribute '${str(name)}'`)
        : attribute;
    },
  ],
  ["batch", batches],
  ["capitalize", ofText(capitalized)],
  [
    "center",
    (value, args, named) =>
      pad("center", str(value), needInt("center", bind("center", ["width"], args, named).width, 80), " "),
  ],
  ["count", count],
  ["d", otherwise],
  ["default", otherwise],
  ["dictsort", dictSorted],
  ["e", forHtml],
  ["escape", forHtml],
  ["filesizeformat", fileSize],
  [
    "first",
    (value) => {
      const next = iterate(value).next();
      return next.done === true ? new Undefined("No first item, sequence was empty.") : next.value;
    },
  ],
  [
    "float",
    (value, args, named) => orDefault(() => floatOf(value), bind("float", ["default"], args, named).default, 0),
  ],
  ["forceescape", forHtml],
  [
    "format",
    (value, args, named) => {
      if (args.length > 0 && named.size > 0)
        throw new TemplateError("can't handle positional and keyword arguments at the same time");
      return printf(str(value), named.size > 0 ? Dict.of(named) : new Tuple(args));
    },
  ],
  ["groupby", groups],
  ["indent", indented],
  [
    "int",
    (value, args, named) => {
      const { default: standard, base } = bind("int", ["default", "base"], args, named);
      if (value instanceof Undefined) return value.fail();
      const radix = needInt("int", base, 10);
      return orDefault(() => intOf(value, radix), standard, 0n);
    },
  ],
  [
    "items",
    (value) => {
      if (!(value instanceof Dict) && !(value instanceof Undefined))
        throw new TemplateError("Can only get item pairs from a mapping.");
      const pairs = value instanceof Dict ? value.entries().map((entry) => new Tuple(entry)) : [];
      return new Iter(pairs[Symbol.iterator]());
    },
  ],
  [
    "join",
    (value, args, named) => {
      const { d, attribute } = bind("join", ["d", "attribute"], args, named);
      const get = getter(attribute);
      const texts = function* (): Generator<Value> {
        for (const item of iterate(value)) yield str(get(item));
      };
      return joined(d === undefined ? "" : str(d), new Iter(texts()));
    },
  ],
  ["last", last],
  ["length", count],
  ["list", (value) => [...listOf(value)]],
  ["lower", ofText((text) => text.toLowerCase())],
  ["map", mapping],
  ["max", extreme("max")],
  ["min", extreme("min")],
  ["reject", selecting(false, false)],
  ["rejectattr", selecting(false, true)],
  [
    "replace",
    (value, args, named) => {
      const { old, new: by, count: most } = bind("replace", ["old", "new", "count"], args, named);
      const [from, to] = [str(needed("replace", "old", old)), str(needed("replace", "new", by))];
      return replaced(str(value), from, to, needInt("replace", most === null ? undefined : most, -1));
    },
  ],
  [
    "reverse",
    (value) => {
      if (typeof value === "string") return Array.from(value).reverse().join("");
      const items = [...listOf(value)].reverse();
      return value instanceof Iter || value instanceof Undefined
        ? items
        : new Iter(items[Symbol.iterator](), "list_reverseiterator");
    },
  ],
  ["round", round],
  ["safe", ofText((text) => text)],
  ["select", selecting(true, false)],
  ["selectattr", selecting(true, true)],
  ["slice", slices],
  [
    "sort",
    (value, args, named) => {
      const { reverse, case_sensitive, attribute } = bind(
        "sort",
        ["reverse", "case_sensitive", "attribute"],
        args,
        named,
      );
      return sorted(listOf(value), sortKey(attribute, flag(case_sensitive)), flag(reverse));
    },
  ],
  ["string", (value) => str(value)],
  [
    "striptags",
    ofText((text) =>
      text
        .replace(/<!--[\s\S]*?-->|<[^>]*>/g, "")
        .split(/\s+/)
        .filter(Boolean)
        .join(" "),
    ),
  ],
  ["sum", total],
  ["title", ofText(titleWords)],
  ["tojson", (value, args, named) => toJson([value, ...args], named)],
  ["trim", (value, args, named) => stripped("strip", str(value), bind("trim", ["chars"], args, named).chars ?? null)],
  ["truncate", truncated],
  [
    "unique",
    (value, args, named) => {
      const { case_sensitive, attribute } = bind("unique", ["case_sensitive", "attribute"], args, named);
      const get = getter(attribute);
      return new Iter(uniqueItems(value, (item) => (flag(case_sensitive) ? get(item) : lower(get(item)))));
    },
  ],
  ["upper", ofText((text) => text.toUpperCase())],
  [
    "urlencode",
    (value) => {
      if (!(value instanceof Dict) && !isList(value)) return quotedUrl(value, false);
      const pairs = value instanceof Dict ? value.entries().map((entry) => new Tuple(entry)) : value;
      return pairs
        .map((pair) =>
          listOf(pair)
            .slice(0, 2)
            .map((part) => quotedUrl(part, true))
            .join("="),
        )
        .join("&");
    },
  ],
  ["wordcount", (value) => BigInt(str(value).match(/[\p{L}\p{N}\p{Mn}_]+/gu)?.length ?? 0)],
]);

/** `int(value)`, or that of the float which its text is. */
function intOf(value: Value, base: number): bigint {
  try {
    return toInt(value, base);
  } catch (error) {
    if (error instanceof ConversionError) return toInt(floatOf(value));
    throw error;
  }
}

/** Whether `'name' is filter` and `'name' is test`. */
export function isKnown(kind: "filter" | "test", name: Value): boolean {
  return typeof name === "string" && (kind === "filter" ? FILTERS.has(name) : TESTS.has(name));
}
