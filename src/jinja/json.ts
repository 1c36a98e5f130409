/** `tojson` as transformers gives it to chat templates: Python's `json.dumps`, and nothing escaped for HTML. */
import { bind, flag } from "./arguments.js";
import { spendText } from "./budget.js";
import { TemplateError } from "./errors.js";
import { sorted } from "./operators.js";
import { floatText } from "./text.js";
import { Dict, isInt, isList, type Named, Tuple, typeOf, type Value } from "./values.js";
import { Output } from "./output.js";

interface Layout {
  readonly ascii: boolean;
  /** What one level is indented by; undefined for everything in one line. */
  readonly indent: string | undefined;
  readonly item: string;
  readonly colon: string;
  readonly sort: boolean;
}

export function toJson(args: readonly Value[], named: Named): string {
  const { x, ensure_ascii, indent, separators, sort_keys } = bind(
    "tojson",
    ["x", "ensure_ascii", "indent", "separators", "sort_keys"],
    args,
    named,
  );
  const level = indentOf(indent ?? null);
  const [item, colon] = separatorsOf(separators ?? null, level === undefined);
  const output = new Output();
  const add = (text: string) => output.write(text);
  write(x ?? null, "\n", { ascii: flag(ensure_ascii), indent: level, item, colon, sort: flag(sort_keys) }, add);
  return output.text();
}

function indentOf(indent: Value): string | undefined {
  if (indent === null) return undefined;
  if (typeof indent === "string") return indent;
  if (!isInt(indent)) throw new TemplateError(`tojson() needs an integer or a text as indent, not ${typeOf(indent)}`);
  spendText(Math.max(0, Number(indent)));
  return " ".repeat(Math.max(0, Number(indent)));
}

function separatorsOf(separators: Value, oneLine: boolean): readonly [string, string] {
  if (separators === null) return [oneLine ? ", " : ",", ": "];
  const [item, colon] = isList(separators) ? separators : separators instanceof Tuple ? separators.items : [];
  if (typeof item !== "string" || typeof colon !== "string")
    throw new TemplateError("tojson() needs two texts as separators");
  return [item, colon];
}

type Add = (text: string) => void;

function write(value: Value, lineBreak: string, layout: Layout, add: Add): void {
  if (typeof value === "string") return add(quoted(value, layout.ascii));
  if (isList(value) || value instanceof Tuple)
    return writeList(isList(value) ? value : value.items, lineBreak, layout, add);
  if (value instanceof Dict) return writeDict(value, lineBreak, layout, add);
  add(scalar(value) ?? notSerializable(value));
}

/** Null, a bool and a number; undefined for anything else. */
function scalar(value: Value): string | undefined {
  if (value === null) return "null";
  if (typeof value === "boolean" || typeof value === "bigint") return String(value);
  if (typeof value !== "number") return undefined;
  return Number.isFinite(value) ? floatText(value) : String(value);
}

function notSerializable(value: Value): never {
  throw new TemplateError(`Object of type ${typeOf(value)} is not JSON serializable`);
}

function writeList(items: readonly Value[], lineBreak: string, layout: Layout, add: Add): void {
  if (items.length === 0) return add("[]");
  const inner = layout.indent === undefined ? "" : lineBreak + layout.indent;
  add("[");
  for (const [i, item] of items.entries()) {
    add((i > 0 ? layout.item : "") + inner);
    write(item, inner, layout, add);
  }
  add(layout.indent === undefined ? "]" : `${lineBreak}]`);
}

function writeDict(value: Dict, lineBreak: string, layout: Layout, add: Add): void {
  if (value.length === 0) return add("{}");
  const inner = layout.indent === undefined ? "" : lineBreak + layout.indent;
  const entries = value.entries();
  const order = layout.sort
    ? sorted(
        entries.map((entry) => new Tuple(entry)),
        (pair) => (pair as Tuple).items[0] as Value,
        false,
      )
    : undefined;
  add("{");
  for (const [i, [key, item]] of (order?.map((pair) => (pair as Tuple).items as [Value, Value]) ?? entries).entries()) {
    const name = typeof key === "string" ? key : scalar(key);
    if (name === undefined) throw new TemplateError(`keys must be str, int, float, bool or None, not ${typeOf(key)}`);
    add(`${(i > 0 ? layout.item : "") + inner}${quoted(name, layout.ascii)}${layout.colon}`);
    write(item, inner, layout, add);
  }
  add(layout.indent === undefined ? "}" : `${lineBreak}}`);
}

const SHORT: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\f": "\\f",
  "\b": "\\b",
};

const BEYOND_ASCII = /["\\]|[^ -~]/g;
const CONTROLS = "\\0-\\x1f";
const BEYOND_JSON = new RegExp(`["\\\\${CONTROLS}]`, "g");

function quoted(text: string, ascii: boolean): string {
  const pattern = ascii ? BEYOND_ASCII : BEYOND_JSON;
  const escaped = (unit: string) => SHORT[unit] ?? `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return `"${text.replace(pattern, escaped)}"`;
}
