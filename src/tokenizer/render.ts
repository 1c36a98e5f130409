/**
 * Runs a Jinja template through @huggingface/jinja with what a template may cost bounded, and Python's rules where the
 * library's differ.
 */
import { Environment, Interpreter, parse, tokenize } from "@huggingface/jinja";
import { isRecord } from "../base/guards.js";

/** What is used of the library's own types, which its package does not resolve for Node's ESM. */
export type Program = object;
type Node = { readonly type: string } | undefined;
interface Value {
  readonly value: unknown;
}
interface Machine {
  evaluate(node: Node, scope: Environment): Value;
  run(program: Program): Value;
}

/** Far more than the largest templates need for a thousand turns; used up within seconds. */
const MAX_WORK = 2_000_000;
/** Evaluations that one round of a loop is worth, whatever is in it. */
const ROUND_WORK = 8;
/** Characters of one text, and items of one list. */
const MAX_TEXT = 2 ** 26;
const MAX_ITEMS = 2 ** 20;
/** That of Jinja's sandbox. */
const MAX_RANGE = 100_000;
/** What Python's `str.strip` takes away. */
const BLANKS = "\t\n\v\f\r \x1c-\x1f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000";

/** Parses a template with the settings that transformers uses. Throws the library's errors. */
export function compile(template: string): Program {
  return parse(tokenize(template, { lstrip_blocks: true, trim_blocks: true }));
}

/**
 * The text of `program` with `variables`. Throws what the template raises, the library's errors, and an `Error` where
 * the template does more work than is allowed. One built-in operation (a replace, a join) is not interrupted: V8's
 * limits on the length of a string and on recursion bound it.
 */
export function run(program: Program, variables: Readonly<Record<string, unknown>>): string {
  const environment = new Environment();
  const globals = { true: true, false: false, none: null, True: true, False: false, None: null, range: boundedRange };
  for (const [name, value] of Object.entries({ ...globals, ...variables })) environment.set(name, value);
  const interpreter: Machine = new Interpreter(environment);
  const evaluate = interpreter.evaluate.bind(interpreter);
  let work = 0;
  const looped = new WeakSet<object>();
  interpreter.evaluate = (node: Node, scope: Environment): Value => {
    if (node?.type === "For") noteLoop(node, looped);
    const value = mendedCall(interpreter, node, scope) ?? evaluate(node, scope);
    work += 1 + cost(value, node !== undefined && looped.has(node));
    if (work > MAX_WORK) throw new Error(`does more than ${MAX_WORK} steps; it may loop without an end`);
    return value;
  };
  return String(interpreter.run(program).value);
}

/** The rounds of a loop are not evaluated as such: what it goes through is charged for them. */
function noteLoop(node: unknown, looped: WeakSet<object>): void {
  const through = isRecord(node) ? node["iterable"] : undefined;
  if (!isRecord(through)) return;
  looped.add(through);
  if (through["type"] === "SelectExpression" && isRecord(through["lhs"])) looped.add(through["lhs"]);
}

function cost({ value }: Value, isLooped: boolean): number {
  if (typeof value === "string") {
    if (value.length > MAX_TEXT)
      throw new Error(`makes a text of ${value.length} characters; at most ${MAX_TEXT} are allowed`);
    return value.length >> 6;
  }
  if (!Array.isArray(value)) return value instanceof Map ? work(value.size, isLooped) : 0;
  if (value.length > MAX_ITEMS)
    throw new Error(`makes a list of ${value.length} items; at most ${MAX_ITEMS} are allowed`);
  return work(value.length, isLooped);
}

function work(items: number, isLooped: boolean): number {
  return isLooped ? items * ROUND_WORK : items >> 6;
}

function boundedRange(first: unknown, second?: unknown, third?: unknown): number[] {
  const [start, stop, step] = typeof second === "number" ? [first, second, third ?? 1] : [0, first, 1];
  if (typeof start !== "number" || typeof stop !== "number" || typeof step !== "number" || step === 0) {
    throw new Error("range() needs integers, and a step that is not 0");
  }
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (!(length <= MAX_RANGE)) throw new Error(`range() of ${length} items; at most ${MAX_RANGE} are allowed`);
  return Array.from({ length }, (_, i) => start + i * step);
}

/**
 * The library's `strip`, `lstrip` and `rstrip` ignore the characters they are given, and its `trim` takes what
 * JavaScript calls blank.
 */
function mendedCall(interpreter: Machine, node: unknown, scope: Environment): Value | undefined {
  if (!isRecord(node)) return undefined;
  if (node["type"] === "FilterExpression") {
    const { filter, operand } = node;
    if (!isRecord(filter) || filter["type"] !== "Identifier" || filter["value"] !== "trim") return undefined;
    return textValue(stripped("trim", interpreter.evaluate(operand as Node, scope), undefined));
  }
  if (node["type"] !== "CallExpression") return undefined;
  const { callee, args } = node;
  if (!isRecord(callee) || callee["type"] !== "MemberExpression" || callee["computed"] === true) return undefined;
  if (!Array.isArray(args) || args.length > 1) return undefined;
  const property = callee["property"];
  const name = isRecord(property) ? property["value"] : undefined;
  if (name !== "strip" && name !== "lstrip" && name !== "rstrip") return undefined;
  const text = interpreter.evaluate(callee["object"] as Node, scope);
  return textValue(stripped(name, text, args.length === 0 ? undefined : interpreter.evaluate(args[0] as Node, scope)));
}

function stripped(name: "strip" | "lstrip" | "rstrip" | "trim", text: Value, chars: Value | undefined): string {
  if (typeof text.value !== "string") throw new Error(`${name}() of what is no text`);
  if (chars !== undefined && chars.value !== null && typeof chars.value !== "string")
    throw new Error(`${name}() needs a text of characters`);
  const set = typeof chars?.value === "string" ? new Set(chars.value) : undefined;
  const goes = (char: string) => (set === undefined ? BLANK.test(char) : set.has(char));
  const points = Array.from(text.value);
  let begin = 0;
  let end = points.length;
  if (name !== "rstrip") while (begin < end && goes(points[begin] as string)) begin++;
  if (name !== "lstrip") while (end > begin && goes(points[end - 1] as string)) end--;
  return points.slice(begin, end).join("");
}

const BLANK = new RegExp(`^[${BLANKS}]$`, "u");

/** The library does not export its classes of values; a variable is one of them. */
function textValue(text: string): Value {
  return new Environment().set("text", text);
}
