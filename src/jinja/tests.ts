/** jinja2's tests (`x is name(...)`), of values that do not depend on where they stand. */
import { spend } from "./budget.js";
import { TemplateError } from "./errors.js";
import { modulo, numeric } from "./numbers.js";
import { compare, type Comparison, contains, equals } from "./operators.js";
import { isLower, isUpper } from "./string-methods.js";
import { str } from "./text.js";
import { Callable, Dict, isList, isNumber, iteratorOf, Range, Tuple, typeOf, Undefined, type Value } from "./values.js";

export type Test = (value: Value, args: readonly Value[]) => boolean;

function remainder(value: Value, by: bigint): boolean {
  if (value instanceof Undefined) return value.fail();
  if (!isNumber(value)) throw new TemplateError(`unsupported operand type(s) for %: '${typeOf(value)}' and 'int'`);
  return Number(modulo(numeric(value), by)) === Number(by - 1n);
}

const comparing =
  (operator: Comparison): Test =>
  (value, [other = null]) =>
    compare(operator, value, other);

/** One object: for values that are equal by their contents alone, Python's answer depends on how they came to be. */
function isSame(value: Value, other: Value): boolean {
  return value === other || (value instanceof Undefined && other instanceof Undefined && value.why === other.why);
}

export const TESTS: ReadonlyMap<string, Test> = new Map<string, Test>([
  ["odd", (value) => remainder(value, 2n)],
  ["even", (value) => !remainder(value, 2n)],
  [
    "divisibleby",
    (value, [by = null]) => {
      if (value instanceof Undefined) return value.fail();
      if (!isNumber(value) || !isNumber(by))
        throw new TemplateError(`unsupported operand type(s) for %: '${typeOf(value)}' and '${typeOf(by)}'`);
      return Number(modulo(numeric(value), numeric(by))) === 0;
    },
  ],
  ["defined", (value) => !(value instanceof Undefined)],
  ["undefined", (value) => value instanceof Undefined],
  ["none", (value) => value === null],
  ["boolean", (value) => typeof value === "boolean"],
  ["true", (value) => value === true],
  ["false", (value) => value === false],
  ["integer", (value) => typeof value === "bigint"],
  ["float", (value) => typeof value === "number"],
  ["number", isNumber],
  ["string", (value) => typeof value === "string"],
  ["mapping", (value) => value instanceof Dict],
  [
    "sequence",
    (value) =>
      typeof value === "string" ||
      isList(value) ||
      value instanceof Dict ||
      value instanceof Tuple ||
      value instanceof Range ||
      value instanceof Undefined,
  ],
  ["iterable", (value) => iteratorOf(value) !== undefined],
  ["callable", (value) => value instanceof Callable || value instanceof Undefined],
  ["escaped", () => false],
  ["lower", (value) => isLower(str(value))],
  ["upper", (value) => isUpper(str(value))],
  ["sameas", (value, [other = null]) => isSame(value, other)],
  [
    "in",
    (value, [container = null]) => {
      spend(1);
      return contains(container, value);
    },
  ],
  ["==", (value, [other = null]) => equals(value, other)],
  ["eq", (value, [other = null]) => equals(value, other)],
  ["equalto", (value, [other = null]) => equals(value, other)],
  ["!=", comparing("!=")],
  ["ne", comparing("!=")],
  [">", comparing(">")],
  ["gt", comparing(">")],
  ["greaterthan", comparing(">")],
  [">=", comparing(">=")],
  ["ge", comparing(">=")],
  ["<", comparing("<")],
  ["lt", comparing("<")],
  ["lessthan", comparing("<")],
  ["<=", comparing("<=")],
  ["le", comparing("<=")],
]);

/** Throws jinja2's words for a test that does not exist. */
export function testNamed(name: string): Test {
  const test = TESTS.get(name);
  if (test === undefined) throw new TemplateError(`No test named '${name}'.`);
  return test;
}
