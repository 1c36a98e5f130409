/** What every template can name: jinja2's globals. */
import { TemplateError } from "./errors.js";
import { str } from "./text.js";
import {
  Callable,
  Dict,
  isInt,
  iterate,
  listOf,
  type Named,
  Namespace,
  PyObject,
  Range,
  typeOf,
  Undefined,
  type Value,
} from "./values.js";

/** That of jinja2's sandbox. */
const MAX_RANGE = 100_000;

function range(args: readonly Value[]): Value {
  for (const bound of args) {
    if (bound instanceof Undefined) bound.fail();
    if (!isInt(bound)) throw new TemplateError(`'${typeOf(bound)}' object cannot be interpreted as an integer`);
  }
  const [first, second, third] = args.map((bound) => BigInt(bound as bigint | boolean));
  if (first === undefined || args.length > 3)
    throw new TemplateError(`range() needs 1 to 3 integers, and ${args.length} were given`);
  if (third === 0n) throw new TemplateError("range() needs a step that is not 0");
  const made = new Range(second === undefined ? 0n : first, second ?? first, third ?? 1n);
  if (!(made.length <= MAX_RANGE))
    throw new TemplateError(`range() of ${made.length} items; at most ${MAX_RANGE} are allowed`);
  return made;
}

/** `dict(pairs, name=value)`. */
function entriesOf(args: readonly Value[], named: Named): [Value, Value][] {
  const [from, more] = args;
  if (more !== undefined) throw new TemplateError(`dict expected at most 1 argument, got ${args.length}`);
  const given: [Value, Value][] =
    from === undefined
      ? []
      : from instanceof Dict
        ? from.entries().map(([key, value]) => [key, value])
        : [...iterate(from)].map((pair) => {
            const [key, value, ...rest] = listOf(pair);
            if (key === undefined || value === undefined || rest.length > 0)
              throw new TemplateError("dictionary update sequence element is not a pair");
            return [key, value];
          });
  return [...given, ...named];
}

function namespace(args: readonly Value[], named: Named): Value {
  return new Namespace(new Map(entriesOf(args, named).map(([key, value]) => [str(key), value])));
}

class Cycler extends PyObject {
  readonly type = "Cycler";
  private position = 0;
  constructor(private readonly items: readonly Value[]) {
    super();
    if (items.length === 0) throw new TemplateError("at least one item has to be provided");
  }
  override attribute(name: string): Value | undefined {
    switch (name) {
      case "current":
        return this.items[this.position];
      case "next":
        return new Callable(name, () => {
          const item = this.items[this.position] as Value;
          this.position = (this.position + 1) % this.items.length;
          return item;
        });
      case "reset":
        return new Callable(name, () => {
          this.position = 0;
          return null;
        });
      default:
        return undefined;
    }
  }
}

function joiner(args: readonly Value[], named: Named): Value {
  const separator = args[0] ?? named.get("sep") ?? ", ";
  let used = false;
  return new Callable("joiner", () => {
    const text = used ? separator : "";
    used = true;
    return text;
  });
}

export const GLOBALS: ReadonlyMap<string, Value> = new Map<string, Value>([
  ["range", new Callable("range", range)],
  ["dict", new Callable("dict", (args, named) => new Dict(entriesOf(args, named)), "type")],
  ["namespace", new Callable("namespace", namespace, "type")],
  ["cycler", new Callable("cycler", (args) => new Cycler(args), "type")],
  ["joiner", new Callable("joiner", joiner, "type")],
]);
