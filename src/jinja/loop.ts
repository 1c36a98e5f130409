import { bind } from "./arguments.js";
import { TemplateError } from "./errors.js";
import { equals } from "./operators.js";
import { Callable, PyObject, Undefined, type Value } from "./values.js";

/** The variable `loop`. It looks one item ahead, and only where it is asked for what comes. */
export class Loop extends PyObject {
  readonly type = "LoopContext";
  private iterator: Iterator<Value>;
  private index0 = -1;
  private ahead: Value | undefined;
  private current: Value | undefined;
  private before: Value | undefined;
  private total: number | undefined;
  private changedBy: readonly Value[] | undefined;

  constructor(
    items: Iterator<Value>,
    private readonly depth0: number,
    private readonly again: ((over: Value, depth0: number) => string) | undefined,
  ) {
    super();
    this.iterator = items;
  }

  /** The next item, if there is one. */
  next(): Value | undefined {
    const item = this.peek();
    this.ahead = undefined;
    if (item === undefined) return undefined;
    this.index0++;
    this.before = this.current;
    this.current = item;
    return item;
  }

  private peek(): Value | undefined {
    if (this.ahead === undefined) {
      const next = this.iterator.next();
      this.ahead = next.done === true ? undefined : next.value;
    }
    return this.ahead;
  }

  /** The number of items; what is left has to be read for it. */
  override get length(): number {
    if (this.total === undefined) {
      const rest: Value[] = [];
      for (let next = this.iterator.next(); next.done !== true; next = this.iterator.next()) rest.push(next.value);
      this.iterator = rest[Symbol.iterator]();
      this.total = rest.length + this.index0 + 1 + (this.ahead === undefined ? 0 : 1);
    }
    return this.total;
  }

  override attribute(name: string): Value | undefined {
    switch (name) {
      case "index":
        return BigInt(this.index0 + 1);
      case "index0":
        return BigInt(this.index0);
      case "revindex":
        return BigInt(this.length - this.index0);
      case "revindex0":
        return BigInt(this.length - this.index0 - 1);
      case "first":
        return this.index0 === 0;
      case "last":
        return this.peek() === undefined;
      case "length":
        return BigInt(this.length);
      case "depth":
        return BigInt(this.depth0 + 1);
      case "depth0":
        return BigInt(this.depth0);
      case "previtem":
        return this.before ?? (this.index0 > 0 ? null : new Undefined("there is no previous item"));
      case "nextitem": {
        const next = this.peek();
        return next === undefined ? new Undefined("there is no next item") : next;
      }
      case "cycle":
        return new Callable(name, (args) => {
          if (args.length === 0) throw new TemplateError("no items for cycling given");
          return args[this.index0 % args.length] as Value;
        });
      case "changed":
        return new Callable(name, (args) => {
          const same = this.changedBy !== undefined && equals(this.changedBy, args);
          this.changedBy = args;
          return !same;
        });
      default:
        return undefined;
    }
  }

  /** `loop(items)` of a recursive loop. */
  recurse(args: readonly Value[]): Value {
    const { iterable } = bind("loop", ["iterable"], args, new Map());
    if (this.again === undefined)
      throw new TemplateError("The loop must have the 'recursive' marker to be called recursively.");
    return this.again(iterable ?? null, this.depth0 + 1);
  }
}
