/**
 * Python's values as templates meet them. An int is a bigint, a float a number, a list an array; none of them is ever
 * changed, as the sandbox that transformers uses does not let a template do it.
 */
import { spend } from "./budget.js";
import { TemplateError } from "./errors.js";

export type Value = null | boolean | bigint | number | string | readonly Value[] | PyObject;

/** What has no counterpart in JavaScript. */
export abstract class PyObject {
  /** Python's name of its type. */
  abstract readonly type: string;
  /** What `.name` gives before keys are looked at; undefined where there is none. */
  attribute(_name: string): Value | undefined {
    return undefined;
  }
  /** An iterator over what it holds; undefined for what cannot be iterated. */
  iterate(): Iterator<Value> | undefined {
    return undefined;
  }
  /** Undefined for what has no length. */
  get length(): number | undefined {
    return undefined;
  }
}

export class Tuple extends PyObject {
  readonly type = "tuple";
  constructor(readonly items: readonly Value[]) {
    super();
  }
  override iterate(): Iterator<Value> {
    return this.items[Symbol.iterator]();
  }
  override get length(): number {
    return this.items.length;
  }
}

type Entry = readonly [key: Value, value: Value];

export class Dict extends PyObject {
  readonly type = "dict";
  private readonly entriesByHash = new Map<unknown, Entry>();

  constructor(entries: Iterable<Entry> = []) {
    super();
    for (const [key, value] of entries) {
      const hash = hashOf(key);
      // A key that is there already keeps its place and its first spelling (1 and True are one key).
      this.entriesByHash.set(hash, [this.entriesByHash.get(hash)?.[0] ?? key, value]);
    }
  }
  static of(record: Iterable<readonly [string, Value]>): Dict {
    return new Dict(record);
  }
  get(key: Value): Value | undefined {
    return this.entriesByHash.get(hashOf(key))?.[1];
  }
  has(key: Value): boolean {
    return this.entriesByHash.has(hashOf(key));
  }
  entries(): Entry[] {
    return [...this.entriesByHash.values()];
  }
  override *iterate(): Iterator<Value> {
    for (const [key] of this.entriesByHash.values()) yield key;
  }
  override get length(): number {
    return this.entriesByHash.size;
  }
}

/** Equal keys have one hash: 1, 1.0 and True are the same key. Throws for lists and dicts, which have none. */
export function hashOf(value: Value): unknown {
  if (typeof value === "boolean") return value ? 1n : 0n;
  if (typeof value === "number") return Number.isInteger(value) ? BigInt(value) : value;
  if (value instanceof Tuple)
    return `\0(${value.items.map((item) => `${typeof item}:${String(hashOf(item))}`).join("\0")})`;
  if (Array.isArray(value) || value instanceof Dict) throw new TemplateError(`unhashable type: '${typeOf(value)}'`);
  return value;
}

/** `dict.keys()`, `.values()` and `.items()`. */
export class DictView extends PyObject {
  constructor(
    readonly of: Dict,
    readonly kind: "keys" | "values" | "items",
  ) {
    super();
  }
  get type(): string {
    return `dict_${this.kind}`;
  }
  override *iterate(): Iterator<Value> {
    for (const [key, value] of this.of.entries())
      yield this.kind === "keys" ? key : this.kind === "values" ? value : new Tuple([key, value]);
  }
  override get length(): number {
    return this.of.length;
  }
}

export class Range extends PyObject {
  readonly type = "range";
  private readonly count: number;
  constructor(
    readonly start: bigint,
    readonly stop: bigint,
    readonly step: bigint,
  ) {
    super();
    const span = step > 0n ? stop - start : start - stop;
    const stride = step > 0n ? step : -step;
    this.count = span <= 0n ? 0 : Number((span + stride - 1n) / stride);
  }
  override get length(): number {
    return this.count;
  }
  item(index: number): bigint {
    return this.start + BigInt(index) * this.step;
  }
  override *iterate(): Iterator<Value> {
    for (let i = 0; i < this.count; i++) yield this.item(i);
  }
}

/** A generator or another iterator: what it gives, it gives once. */
export class Iter extends PyObject {
  constructor(
    private readonly iterator: Iterator<Value>,
    readonly type = "generator",
  ) {
    super();
  }
  override iterate(): Iterator<Value> {
    return this.iterator;
  }
}

/** What a name or an attribute that does not exist gives: it prints as nothing, and most uses of it are errors. */
export class Undefined extends PyObject {
  readonly type = "Undefined";
  constructor(readonly why: string) {
    super();
  }
  fail(): never {
    throw new TemplateError(this.why);
  }
  override iterate(): Iterator<Value> {
    return [][Symbol.iterator]();
  }
  override get length(): number {
    return 0;
  }
}

/** The one thing that a template may change. */
export class Namespace extends PyObject {
  readonly type = "Namespace";
  constructor(readonly attributes: Map<string, Value>) {
    super();
  }
  override attribute(name: string): Value | undefined {
    return this.attributes.get(name);
  }
}

export type Named = ReadonlyMap<string, Value>;

export class Callable extends PyObject {
  constructor(
    readonly name: string,
    readonly call: (args: readonly Value[], named: Named) => Value,
    readonly type = "function",
    private readonly attributes: ReadonlyMap<string, Value> = new Map(),
  ) {
    super();
  }
  override attribute(name: string): Value | undefined {
    return this.attributes.get(name);
  }
}

export function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value);
}

/** An int, which a bool is too. */
export function isInt(value: Value | undefined): value is bigint | boolean {
  return typeof value === "bigint" || typeof value === "boolean";
}

export function isNumber(value: Value | undefined): value is bigint | boolean | number {
  return isInt(value) || typeof value === "number";
}

/** Python's name of a value's type. */
export function typeOf(value: Value): string {
  if (value === null) return "NoneType";
  switch (typeof value) {
    case "boolean":
      return "bool";
    case "bigint":
      return "int";
    case "number":
      return "float";
    case "string":
      return "str";
    default:
      return isList(value) ? "list" : value.type;
  }
}

export function isTrue(value: Value): boolean {
  switch (typeof value) {
    case "boolean":
      return value;
    case "bigint":
      return value !== 0n;
    case "number":
      return value !== 0;
    case "string":
      return value !== "";
    default:
      return value !== null && value.length !== 0;
  }
}

/** An iterator over a value, each of whose steps is charged. Throws for what cannot be iterated. */
export function* iterate(value: Value): Generator<Value, void, undefined> {
  const iterator = iteratorOf(value);
  if (iterator === undefined) throw new TemplateError(`'${typeOf(value)}' object is not iterable`);
  for (let next = iterator.next(); next.done !== true; next = iterator.next()) {
    spend(1);
    yield next.value;
  }
}

export function iteratorOf(value: Value): Iterator<Value> | undefined {
  if (typeof value === "string") return value[Symbol.iterator]();
  if (isList(value)) return value[Symbol.iterator]();
  return value instanceof PyObject ? value.iterate() : undefined;
}

/** Every item that iterating gives. */
export function listOf(value: Value): readonly Value[] {
  if (isList(value)) {
    spend(value.length >> 3);
    return value;
  }
  return [...iterate(value)];
}
