/** Expressions as functions of the names in scope. A tree becomes functions once, and these run for every rendering. */
import { spend, spendText } from "./budget.js";
import { TemplateError, TemplateSyntaxError } from "./errors.js";
import { filterNamed, isKnown } from "./filters.js";
import { arithmetic, attributeOf, compare, contains, itemOf, negative, sliceOf } from "./operators.js";
import type { Scope } from "./scope.js";
import type { Arguments, Expression } from "./syntax.js";
import { testNamed } from "./tests.js";
import { str } from "./text.js";
import { Callable, Dict, isTrue, iterate, listOf, type Named, Tuple, typeOf, Undefined, type Value } from "./values.js";

export type Evaluate = (scope: Scope) => Value;

/** Filters of a block take the text of the block. */
export type EvaluateFilter = (scope: Scope, text: Value) => Value;

interface Given {
  readonly args: readonly Value[];
  readonly named: Named;
}

/**
 * @param soft whether it may never be run: then a filter or a test that does not exist is an error only when it is
 */
export function compileExpression(node: Expression, soft: boolean): Evaluate {
  const evaluate = compiled(node, soft);
  return (scope) => {
    spend(1);
    return evaluate(scope);
  };
}

function compiled(node: Expression, soft: boolean): Evaluate {
  const of = (part: Expression) => compileExpression(part, soft);
  switch (node.kind) {
    case "constant": {
      const { value } = node;
      return () => value;
    }
    case "name": {
      const { name } = node;
      const missing = new Undefined(`'${name}' is undefined`);
      return (scope) => {
        const value = scope.get(name);
        return value === undefined ? missing : value;
      };
    }
    case "list": {
      const items = node.items.map(of);
      return (scope) => items.map((item) => item(scope));
    }
    case "tuple": {
      const items = node.items.map(of);
      return (scope) => new Tuple(items.map((item) => item(scope)));
    }
    case "concat": {
      const items = node.items.map(of);
      return (scope) => {
        let text = "";
        for (const item of items) {
          text += str(item(scope));
          spendText(text.length);
        }
        return text;
      };
    }
    case "dict": {
      const entries = node.entries.map(([key, value]) => [of(key), of(value)] as const);
      return (scope) => new Dict(entries.map(([key, value]) => [key(scope), value(scope)] as const));
    }
    case "attribute": {
      const owner = of(node.of);
      const { name } = node;
      return (scope) => attributeOf(owner(scope), name);
    }
    case "item":
      return compileItem(node.of, node.key, soft);
    case "slice":
      throw new TemplateError("a slice stands where there is nothing to cut");
    case "call":
      return compileCall(node, soft);
    case "filter":
      return compileFilter(node, soft);
    case "test":
      return compileTest(node, soft);
    case "not": {
      const value = of(node.of);
      return (scope) => !isTrue(value(scope));
    }
    case "negative":
    case "positive": {
      const value = of(node.of);
      const sign = node.kind === "negative" ? "-" : "+";
      return (scope) => negative(value(scope), sign);
    }
    case "and":
    case "or": {
      const [left, right] = [of(node.left), of(node.right)];
      const stopsAt = node.kind === "or";
      return (scope) => {
        const value = left(scope);
        return isTrue(value) === stopsAt ? value : right(scope);
      };
    }
    case "arithmetic": {
      const [left, right] = [of(node.left), of(node.right)];
      const { operator } = node;
      return (scope) => arithmetic(operator, left(scope), right(scope));
    }
    case "compare":
      return compileCompare(node, soft);
    case "condition": {
      const [test, yes] = [of(node.test), compileExpression(node.yes, true)];
      const no = node.no === undefined ? undefined : compileExpression(node.no, true);
      const none = new Undefined(
        `the inline if-expression on line ${node.line} evaluated to false and no else section was defined.`,
      );
      return (scope) => (isTrue(test(scope)) ? yes(scope) : no === undefined ? none : no(scope));
    }
  }
}

function compileItem(of: Expression, key: Expression, soft: boolean): Evaluate {
  const owner = compileExpression(of, soft);
  if (key.kind !== "slice") {
    const index = compileExpression(key, soft);
    return (scope) => itemOf(owner(scope), index(scope));
  }
  const bound = (part: Expression | undefined): Evaluate =>
    part === undefined ? () => null : compileExpression(part, soft);
  const [start, stop, step] = [bound(key.start), bound(key.stop), bound(key.step)];
  return (scope) => sliceOf(owner(scope), { start: start(scope), stop: stop(scope), step: step(scope) });
}

function compileCompare(node: Extract<Expression, { kind: "compare" }>, soft: boolean): Evaluate {
  const first = compileExpression(node.first, soft);
  const rest = node.rest.map(([operator, operand]) => [operator, compileExpression(operand, soft)] as const);
  return (scope) => {
    let left = first(scope);
    for (const [operator, operand] of rest) {
      const right = operand(scope);
      const holds =
        operator === "in" || operator === "not in"
          ? contains(right, left) === (operator === "in")
          : compare(operator, left, right);
      if (!holds) return false;
      left = right;
    }
    return true;
  };
}

/** Arguments of a call, a filter or a test. */
export function compileArguments(node: Arguments, soft: boolean): (scope: Scope) => Given {
  const args = node.args.map((arg) => compileExpression(arg, soft));
  const named = node.named.map(([name, value]) => [name, compileExpression(value, soft)] as const);
  const spread = node.spread === undefined ? undefined : compileExpression(node.spread, soft);
  const namedSpread = node.namedSpread === undefined ? undefined : compileExpression(node.namedSpread, soft);
  return (scope) => {
    const given = args.map((arg) => arg(scope));
    const byName = new Map(named.map(([name, value]) => [name, value(scope)] as const));
    if (spread !== undefined) given.push(...listOf(spread(scope)));
    if (namedSpread !== undefined) addNamed(byName, namedSpread(scope));
    return { args: given, named: byName };
  };
}

function addNamed(named: Map<string, Value>, spread: Value): void {
  if (!(spread instanceof Dict)) throw new TemplateError(`argument after ** must be a mapping, not ${typeOf(spread)}`);
  for (const key of iterate(spread)) {
    if (typeof key !== "string") throw new TemplateError("keywords must be strings");
    named.set(key, spread.get(key) ?? null);
  }
}

function compileCall(node: Extract<Expression, { kind: "call" }>, soft: boolean): Evaluate {
  const callee = compileExpression(node.callee, soft);
  const given = compileArguments(node, soft);
  return (scope) => {
    const called = callee(scope);
    const { args, named } = given(scope);
    return call(called, args, named);
  };
}

export function call(callee: Value, args: readonly Value[], named: Named): Value {
  if (callee instanceof Undefined) return callee.fail();
  if (!(callee instanceof Callable)) throw new TemplateError(`'${typeOf(callee)}' object is not callable`);
  return callee.call(args, named);
}

function compileFilter(node: Extract<Expression, { kind: "filter" }>, soft: boolean): Evaluate {
  if (node.of === undefined) throw new TemplateError("a filter stands where there is nothing to filter");
  const value = compileExpression(node.of, soft);
  const apply = filterOf(node, soft);
  return (scope) => apply(scope, value(scope));
}

function filterOf(node: Extract<Expression, { kind: "filter" }>, soft: boolean): EvaluateFilter {
  const { name } = node;
  if (!soft && !isKnown("filter", name)) throw new TemplateSyntaxError(node.line, `No filter named '${name}'.`);
  const given = compileArguments(node, soft);
  return (scope, value) => {
    const { args, named } = given(scope);
    return filterNamed(name)(value, args, named);
  };
}

/** A chain of filters that ends in the text of a block. */
export function compileBlockFilter(node: Expression, soft: boolean): EvaluateFilter {
  if (node.kind !== "filter") throw new TemplateError("a block is filtered by what is no filter");
  const apply = filterOf(node, soft);
  if (node.of === undefined) return apply;
  const inner = compileBlockFilter(node.of, soft);
  return (scope, text) => apply(scope, inner(scope, text));
}

function compileTest(node: Extract<Expression, { kind: "test" }>, soft: boolean): Evaluate {
  const { name } = node;
  const value = compileExpression(node.of, soft);
  if (name === "filter" || name === "test") return (scope) => isKnown(name, value(scope));
  if (!soft && !isKnown("test", name)) throw new TemplateSyntaxError(node.line, `No test named '${name}'.`);
  const given = compileArguments(node, soft);
  return (scope) => testNamed(name)(value(scope), given(scope).args);
}
