/** What JavaScript gives a template, as Python's values. */
import { spend } from "./budget.js";
import { TemplateError } from "./errors.js";
import { str } from "./text.js";
import { Callable, Dict, isList, listOf, PyObject, Tuple, Undefined, type Value } from "./values.js";

/** Where JavaScript's own numbers stop being written as integers. */
const MAX_INTEGER = 1e21;

/** Objects that were converted already: the same object stays one value. */
export type Known = WeakMap<object, Value>;

/**
 * An integral number is an int; undefined fields are left out, as JSON leaves them out. `known` keeps what was
 * converted for other renderings of the same, unchanged objects.
 */
export function toValue(given: unknown, known: Known): Value {
  switch (typeof given) {
    case "string":
    case "boolean":
    case "bigint":
      return given;
    case "number":
      return Number.isInteger(given) && Math.abs(given) < MAX_INTEGER ? BigInt(given) : given;
    case "function":
      return new Callable(given.name, (args) => toValue(given(...args.map(toGiven)), known));
    case "object":
      return given === null ? null : objectValue(given, known);
    case "undefined":
      return null;
    default:
      throw new TemplateError(`a ${typeof given} has no counterpart in a template`);
  }
}

function objectValue(given: object, known: Known): Value {
  if (given instanceof PyObject) return given;
  const ready = known.get(given);
  if (ready !== undefined) return ready;
  spend(1);
  const value = Array.isArray(given)
    ? given.map((item) => toValue(item, known))
    : Dict.of(
        Object.entries(given)
          .filter(([, field]) => field !== undefined)
          .map(([name, field]) => [name, toValue(field, known)] as const),
      );
  known.set(given, value);
  return value;
}

/** What a function of JavaScript is called with: plain data. */
function toGiven(value: Value): unknown {
  if (typeof value === "bigint") return Number(value);
  if (isList(value) || value instanceof Tuple) return listOf(value).map(toGiven);
  if (value instanceof Dict) return Object.fromEntries(value.entries().map(([key, item]) => [str(key), toGiven(item)]));
  return value instanceof Undefined ? undefined : value;
}
