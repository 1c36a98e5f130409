/** Methods of Python's values, as far as the sandbox of jinja2 lets a template call them. */
import { spend } from "./budget.js";
import { TemplateError } from "./errors.js";
import { bind, needed } from "./arguments.js";
import { formatText, type Access } from "./format.js";
import { STRING_METHODS } from "./string-methods.js";
import { repr } from "./text.js";
import { Callable, Dict, DictView, isList, type Named, Tuple, Undefined, type Value } from "./values.js";

type Equals = (a: Value, b: Value) => boolean;

/** What changes a list or a dict: the sandbox gives an undefined value for it. */
const CHANGING: Readonly<Record<string, readonly string[]>> = {
  list: ["append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"],
  dict: ["clear", "pop", "popitem", "setdefault", "update"],
};

/** The method `name` of a value; undefined where it has none. */
export function methodOf(value: Value, name: string, access: Access, equals: Equals): Value | undefined {
  if (typeof value === "string") return textMethod(value, name, access);
  if (value instanceof Dict) return dictMethod(value, name);
  if (isList(value)) {
    if (CHANGING["list"]?.includes(name)) return unsafe(name, "list");
    if (name === "copy") return new Callable(name, () => value, "builtin_function_or_method");
    return sequenceMethod(value, name, equals);
  }
  return value instanceof Tuple ? sequenceMethod(value.items, name, equals) : undefined;
}

function unsafe(name: string, type: string): Undefined {
  return new Undefined(`access to attribute '${name}' of '${type}' object is unsafe.`);
}

function method(name: string, call: (args: readonly Value[], named: Named) => Value): Callable {
  return new Callable(name, call, "builtin_function_or_method");
}

function textMethod(self: string, name: string, access: Access): Value | undefined {
  const own = STRING_METHODS.get(name);
  if (own !== undefined) return method(name, (args, named) => own(self, args, named));
  if (name === "format") return method(name, (args, named) => formatText(self, args, named, access));
  if (name !== "format_map") return undefined;
  return method(name, ([mapping]) => {
    if (!(mapping instanceof Dict)) throw new TemplateError("format_map() needs a mapping");
    const fields = mapping
      .entries()
      .flatMap(([key, value]) => (typeof key === "string" ? [[key, value] as const] : []));
    return formatText(self, [], new Map(fields), access);
  });
}

function dictMethod(self: Dict, name: string): Value | undefined {
  switch (name) {
    case "keys":
    case "values":
    case "items":
      return method(name, () => new DictView(self, name));
    case "get":
      return method(name, (args, named) => {
        const { key, default: otherwise } = bind(name, ["key", "default"], args, named);
        const value = self.get(needed(name, "key", key));
        return value === undefined ? (otherwise ?? null) : value;
      });
    case "copy":
      return method(name, () => self);
    default:
      return CHANGING["dict"]?.includes(name) ? unsafe(name, "dict") : undefined;
  }
}

function sequenceMethod(items: readonly Value[], name: string, equals: Equals): Value | undefined {
  if (name !== "count" && name !== "index") return undefined;
  return method(name, ([wanted]) => {
    spend(items.length);
    const value = needed(name, "value", wanted);
    if (name === "count") return BigInt(items.filter((item) => equals(item, value)).length);
    const at = items.findIndex((item) => equals(item, value));
    if (at < 0) throw new TemplateError(`${repr(value)} is not in list`);
    return BigInt(at);
  });
}
