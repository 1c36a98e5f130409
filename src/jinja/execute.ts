/** Statements as functions that write. */
import { spend } from "./budget.js";
import { TemplateError } from "./errors.js";
import {
  call,
  compileArguments,
  compileBlockFilter,
  compileExpression,
  type Evaluate,
  type EvaluateFilter,
} from "./evaluate.js";
import { Loop } from "./loop.js";
import { Output } from "./output.js";
import { captured, type Run } from "./run.js";
import { Scope } from "./scope.js";
import type { Block, Signature, Statement, Target } from "./syntax.js";
import { str } from "./text.js";
import {
  Callable,
  Dict,
  isList,
  isTrue,
  iterate,
  iteratorOf,
  type Named,
  Namespace,
  Tuple,
  typeOf,
  Undefined,
  type Value,
} from "./values.js";

/** Steps that a round of a loop is worth, whatever is in it. */
const ROUND_WORK = 4;

/** How a statement leaves: on to the next one, or out of the loop's round or the loop. */
type Leave = "on" | "continue" | "break";

type Execute = (scope: Scope, run: Run) => Leave;

/** @throws TemplateError for filters and tests that do not exist */
export function compileBlock(body: Block, soft = false): Execute {
  const statements = body.map((statement) => ({ line: statement.line, execute: compileStatement(statement, soft) }));
  return (scope, run) => {
    for (const { line, execute } of statements) {
      spend(1);
      run.line = line;
      const leave = execute(scope, run);
      if (leave !== "on") return leave;
    }
    return "on";
  };
}

function compileStatement(node: Statement, soft: boolean): Execute {
  switch (node.kind) {
    case "data": {
      const { text } = node;
      return (_, run) => {
        run.out.write(text);
        return "on";
      };
    }
    case "output": {
      const value = compileExpression(node.value, soft);
      return (scope, run) => {
        run.out.write(str(value(scope)));
        return "on";
      };
    }
    case "set": {
      const value = compileExpression(node.value, soft);
      return (scope) => {
        assign(node.target, value(scope), scope);
        return "on";
      };
    }
    case "capture":
    case "filterBlock":
      return compileCapture(node, soft);
    case "for":
      return compileFor(node, soft);
    case "if": {
      const branches = node.branches.map(
        ([test, body], i) => [compileExpression(test, soft || i > 0), compileBlock(body, true)] as const,
      );
      const otherwise = compileBlock(node.otherwise, true);
      return (scope, run) => {
        for (const [test, body] of branches) if (isTrue(test(scope))) return body(scope, run);
        return otherwise(scope, run);
      };
    }
    case "with": {
      const bindings = node.bindings.map(([target, value]) => [target, compileExpression(value, soft)] as const);
      const body = compileBlock(node.body, soft);
      return (scope, run) => {
        const inner = new Scope(scope);
        for (const [target, value] of bindings) assign(target, value(scope), inner);
        return body(inner, run);
      };
    }
    case "scope": {
      const body = compileBlock(node.body, soft);
      return (scope, run) => body(new Scope(scope), run);
    }
    case "macro": {
      const macro = compileMacro(node.name, node.signature, node.body, soft);
      const { name } = node;
      return (scope, run) => {
        scope.set(name, macro(scope, run));
        return "on";
      };
    }
    case "callBlock":
      return compileCallBlock(node, soft);
    case "generation": {
      const body = compileBlock(node.body, soft);
      return (scope, run) => {
        const begin = run.out.length;
        body(new Scope(scope), run);
        if (run.out === run.main) run.watcher.generated?.(begin, run.out.length);
        return "on";
      };
    }
    case "break":
    case "continue": {
      const { kind } = node;
      return () => kind;
    }
    case "other": {
      const { tag } = node;
      return () => {
        throw new TemplateError(`{% ${tag} %} needs another template, and there is no other`);
      };
    }
  }
}

function assign(target: Target, value: Value, scope: Scope): void {
  switch (target.kind) {
    case "name":
      scope.set(target.name, value);
      return;
    case "attribute": {
      const owner = scope.get(target.namespace);
      if (!(owner instanceof Namespace)) throw new TemplateError("cannot assign attribute on non-namespace object");
      owner.attributes.set(target.name, value);
      return;
    }
    case "tuple": {
      const values = isList(value) ? value : value instanceof Tuple ? value.items : unpacked(value);
      if (values.length !== target.items.length)
        throw new TemplateError(
          values.length > target.items.length
            ? `too many values to unpack (expected ${target.items.length})`
            : `not enough values to unpack (expected ${target.items.length}, got ${values.length})`,
        );
      for (const [i, item] of target.items.entries()) assign(item, values[i] as Value, scope);
    }
  }
}

function unpacked(value: Value): Value[] {
  if (iteratorOf(value) === undefined) throw new TemplateError(`cannot unpack non-iterable ${typeOf(value)} object`);
  return [...iterate(value)];
}

/** `{% set x %}...{% endset %}` and `{% filter f %}...{% endfilter %}`. */
function compileCapture(node: Extract<Statement, { kind: "capture" | "filterBlock" }>, soft: boolean): Execute {
  const body = compileBlock(node.body, soft);
  const filter: EvaluateFilter = node.filter === undefined ? (_, text) => text : compileBlockFilter(node.filter, soft);
  return (scope, run) => {
    let leave: Leave = "on";
    const text = captured(run, new Output(), () => {
      leave = body(new Scope(scope), run);
    });
    if (leave !== "on") return leave;
    const value = filter(scope, text);
    if (node.kind === "capture") assign(node.target, value, scope);
    else run.out.write(str(value));
    return "on";
  };
}

function compileFor(node: Extract<Statement, { kind: "for" }>, soft: boolean): Execute {
  const over = compileExpression(node.over, soft);
  const test = node.test === undefined ? undefined : compileExpression(node.test, soft);
  const body = compileBlock(node.body, soft);
  const otherwise = node.otherwise === undefined ? undefined : compileBlock(node.otherwise, soft);
  const rounds = (value: Value, scope: Scope, run: Run, depth0: number): void => {
    const again = (inner: Value, depth: number) => captured(run, new Output(), () => rounds(inner, scope, run, depth));
    const loop = new Loop(filtered(value, node.target, test, scope), depth0, node.recursive ? again : undefined);
    // A round that leaves by "continue" or "break" counts as none: that is what jinja2 does.
    let whole = false;
    for (let item = loop.next(); item !== undefined; item = loop.next()) {
      spend(ROUND_WORK);
      const inner = new Scope(scope);
      inner.set("loop", node.recursive ? recursive(loop) : loop);
      assign(node.target, item, inner);
      const { out } = run;
      const begin = out.length;
      const leave = body(inner, run);
      if (out === run.main) run.watcher.round?.(item, begin, out.length);
      if (leave === "break") break;
      if (leave === "on") whole = true;
    }
    if (!whole) otherwise?.(new Scope(scope), run);
  };
  return (scope, run) => {
    rounds(over(scope), scope, run, 0);
    return "on";
  };
}

function* filtered(value: Value, target: Target, test: Evaluate | undefined, scope: Scope): Generator<Value> {
  for (const item of iterate(value)) {
    if (test !== undefined) {
      const inner = new Scope(scope);
      assign(target, item, inner);
      if (!isTrue(test(inner))) continue;
    }
    yield item;
  }
}

/** A loop that can be called, with the attributes of a loop. */
function recursive(loop: Loop): Callable {
  return new RecursiveLoop(loop);
}

class RecursiveLoop extends Callable {
  constructor(private readonly loop: Loop) {
    super("loop", (args) => loop.recurse(args), "LoopContext");
  }
  override attribute(name: string): Value | undefined {
    return this.loop.attribute(name);
  }
  override get length(): number {
    return this.loop.length;
  }
}

/** Names that a macro is given without having parameters for them, where its body has use for them. */
const IMPLICIT = ["varargs", "kwargs", "caller"] as const;

function compileMacro(
  name: string,
  { parameters, defaults }: Signature,
  block: Block,
  soft: boolean,
): (scope: Scope, run: Run) => Callable {
  const body = compileBlock(block, soft);
  const standard = defaults.map((value) => compileExpression(value, soft));
  const uses = new Set(IMPLICIT.filter((word) => !parameters.includes(word) && mentions(block, word)));
  return (scope, run) => {
    const invoke = (args: readonly Value[], named: Named): Value => {
      const inner = new Scope(scope);
      const rest = new Map(named);
      const firstDefault = parameters.length - standard.length;
      for (const [i, parameter] of parameters.entries()) {
        if (args[i] !== undefined && rest.has(parameter))
          throw new TemplateError(`macro '${name}' got multiple values for argument '${parameter}'`);
        const given = args[i] === undefined ? rest.get(parameter) : args[i];
        rest.delete(parameter);
        // A default may speak of the parameters before it.
        const value = given === undefined ? standard[i - firstDefault]?.(inner) : given;
        inner.set(parameter, value === undefined ? new Undefined(`parameter '${parameter}' was not provided`) : value);
      }
      bindImplicit(name, uses, parameters, args, rest, inner);
      return captured(run, new Output(), () => body(inner, run));
    };
    const about = new Map<string, Value>([
      ["name", name],
      ["arguments", new Tuple(parameters)],
      ["catch_kwargs", uses.has("kwargs")],
      ["catch_varargs", uses.has("varargs")],
      ["caller", uses.has("caller")],
    ]);
    return new Callable(name, invoke, "Macro", about);
  };
}

function bindImplicit(
  name: string,
  uses: ReadonlySet<string>,
  parameters: readonly string[],
  args: readonly Value[],
  rest: Map<string, Value>,
  inner: Scope,
): void {
  if (uses.has("caller")) inner.set("caller", rest.get("caller") ?? new Undefined("No caller defined"));
  if (uses.has("caller")) rest.delete("caller");
  if (uses.has("kwargs")) inner.set("kwargs", Dict.of(rest));
  else if (rest.has("caller"))
    throw new TemplateError(
      `macro '${name}' was invoked with two values for the special caller argument or takes none`,
    );
  else if (rest.size > 0)
    throw new TemplateError(`macro '${name}' takes no keyword argument '${String([...rest.keys()][0])}'`);
  if (uses.has("varargs")) inner.set("varargs", new Tuple(args.slice(parameters.length)));
  else if (args.length > parameters.length)
    throw new TemplateError(`macro '${name}' takes not more than ${parameters.length} argument(s)`);
}

/** Whether a name stands anywhere in a tree. */
function mentions(tree: unknown, name: string): boolean {
  if (Array.isArray(tree)) return tree.some((part) => mentions(part, name));
  if (typeof tree !== "object" || tree === null) return false;
  const { kind, name: own } = tree as { kind?: unknown; name?: unknown };
  if (kind === "name" && own === name) return true;
  return Object.values(tree).some((part) => mentions(part, name));
}

function compileCallBlock(node: Extract<Statement, { kind: "callBlock" }>, soft: boolean): Execute {
  if (node.call.kind !== "call") throw new TemplateError("expected call");
  const callee = compileExpression(node.call.callee, soft);
  const given = compileArguments(node.call, soft);
  const caller = compileMacro("caller", node.signature, node.body, soft);
  return (scope, run) => {
    const called = callee(scope);
    const { args, named } = given(scope);
    const value = call(called, args, new Map([...named, ["caller", caller(scope, run)]]));
    run.out.write(str(value));
    return "on";
  };
}
