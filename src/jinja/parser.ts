/** A template's tokens as statements. The tags are those that transformers' environment knows. */
import { TemplateSyntaxError } from "./errors.js";
import { ExpressionParser } from "./expressions.js";
import { tokenize } from "./lexer.js";
import type { Block, Expression, Signature, Statement, Target } from "./syntax.js";

/** @throws TemplateSyntaxError with the line */
export function parse(template: string): Block {
  return new StatementParser(tokenize(template)).all();
}

/** Tags that bring in other templates. */
const FOREIGN = "from import include extends".split(" ");

class StatementParser extends ExpressionParser {
  /** Tags that are open, the innermost last. */
  private readonly open: { readonly tag: string; readonly line: number }[] = [];
  private loops = 0;

  all(): Block {
    return this.until([]);
  }

  /** Statements up to one of the tags `ends`, which is left as the current token; to the template's end for none. */
  private until(ends: readonly string[]): Statement[] {
    const body: Statement[] = [];
    for (;;) {
      const token = this.current;
      if (token.kind === "data") {
        this.next();
        body.push({ kind: "data", text: token.value, line: token.line });
      } else if (token.kind === "variable_begin") {
        this.next();
        body.push({ kind: "output", value: this.tuple(), line: token.line });
        this.expect("variable_end");
      } else if (token.kind === "block_begin") {
        this.next();
        if (this.current.kind === "name" && ends.includes(this.current.value)) return body;
        body.push(...this.statement(ends));
        this.expect("block_end");
      } else {
        const { tag, line } = this.open.at(-1) ?? {};
        if (tag === undefined || line === undefined) return body;
        const wanted = ends.map((end) => `'${end}'`).join(" or ");
        return this.fail(
          `Unexpected end of template. Jinja was looking for ${wanted}; '${tag}' was opened in line ${line}`,
        );
      }
    }
  }

  /** A body up to one of `ends`. The end tag itself is read, and returned. */
  private body(...ends: string[]): { body: Statement[]; end: string } {
    this.skipOperator(":");
    this.expect("block_end");
    const body = this.until(ends);
    return { body, end: String(this.next().value) };
  }

  private statement(ends: readonly string[]): Statement[] {
    const token = this.current;
    if (token.kind !== "name") return this.fail("tag name expected");
    this.open.push({ tag: token.value, line: token.line });
    const { line } = token;
    this.next();
    const made = this.tag(token.value, line, ends);
    this.open.pop();
    return made;
  }

  private tag(tag: string, line: number, ends: readonly string[]): Statement[] {
    switch (tag) {
      case "set":
        return [this.set(line)];
      case "for":
        return [this.for(line)];
      case "if":
        return [this.if(line)];
      case "with":
        return [this.with(line)];
      case "macro": {
        const name = this.name();
        const signature = this.signature();
        return [{ kind: "macro", name, signature, body: this.callable("endmacro"), line }];
      }
      case "call": {
        const signature = this.current.value === "(" ? this.signature() : { parameters: [], defaults: [] };
        const call = this.expression();
        if (call.kind !== "call") return this.fail("expected call", line);
        return [{ kind: "callBlock", signature, call, body: this.callable("endcall"), line }];
      }
      case "filter": {
        const filter = this.filters(undefined, true) as Expression;
        return [{ kind: "filterBlock", filter, body: this.body("endfilter").body, line }];
      }
      case "generation":
        return [{ kind: "generation", body: this.callable("endgeneration"), line }];
      case "print": {
        const values: Statement[] = [];
        while (this.current.kind !== "block_end") {
          if (values.length > 0) this.expectOperator(",");
          values.push({ kind: "output", value: this.expression(), line });
        }
        return values;
      }
      case "break":
      case "continue":
        if (this.loops === 0) return this.fail(`'${tag}' outside loop`, line);
        return [{ kind: tag, line }];
      case "autoescape":
        this.expression();
        return [{ kind: "scope", body: this.body("endautoescape").body, line }];
      case "block":
        return [this.block(line)];
      default: {
        if (FOREIGN.includes(tag)) {
          while (this.current.kind !== "block_end" && this.current.kind !== "end") this.next();
          return [{ kind: "other", tag, line }];
        }
        const wanted = ends.length === 0 ? "" : ` Jinja was looking for ${ends.map((end) => `'${end}'`).join(" or ")}.`;
        return this.fail(`Encountered unknown tag '${tag}'.${wanted}`, line);
      }
    }
  }

  /** A body that runs as a function of its own: a loop outside it is none of its own. */
  private callable(end: string): Statement[] {
    const { loops } = this;
    this.loops = 0;
    const { body } = this.body(end);
    this.loops = loops;
    return body;
  }

  private set(line: number): Statement {
    const target = this.target([], true);
    if (this.skipOperator("=")) return { kind: "set", target, value: this.tuple(), line };
    const filter = this.filters(undefined, false);
    return { kind: "capture", target, filter, body: this.body("endset").body, line };
  }

  private for(line: number): Statement {
    const target = this.target(["in"], false);
    this.expectName("in");
    const over = this.tuple({ condition: false, ends: ["recursive"] });
    const test = this.skipName("if") ? this.expression() : undefined;
    const recursive = this.skipName("recursive");
    this.loops++;
    const { body, end } = this.body("endfor", "else");
    this.loops--;
    const otherwise = end === "else" ? this.body("endfor").body : undefined;
    return { kind: "for", target, over, test, recursive, body, otherwise, line };
  }

  private if(line: number): Statement {
    const branches: [Expression, Block][] = [];
    for (;;) {
      const test = this.tuple({ condition: false });
      const { body, end } = this.body("elif", "else", "endif");
      branches.push([test, body]);
      if (end === "endif") return { kind: "if", branches, otherwise: [], line };
      if (end === "else") return { kind: "if", branches, otherwise: this.body("endif").body, line };
    }
  }

  private with(line: number): Statement {
    const bindings: [Target, Expression][] = [];
    while (this.current.kind !== "block_end") {
      if (bindings.length > 0) this.expectOperator(",");
      const target = this.target([], false);
      this.expectOperator("=");
      bindings.push([target, this.expression()]);
    }
    return { kind: "with", bindings, body: this.body("endwith").body, line };
  }

  private block(line: number): Statement {
    const name = this.name();
    while (this.skipName("scoped") || this.skipName("required"));
    const body = this.callable("endblock");
    if (this.current.kind === "name" && this.current.value === name) this.next();
    return { kind: "scope", body, line };
  }

  private signature(): Signature {
    const parameters: string[] = [];
    const defaults: Expression[] = [];
    this.expectOperator("(");
    while (this.current.value !== ")") {
      if (parameters.length > 0) this.expectOperator(",");
      parameters.push(this.name());
      if (this.skipOperator("=")) defaults.push(this.expression());
      else if (defaults.length > 0) this.fail("non-default argument follows default argument");
    }
    this.expectOperator(")");
    return { parameters, defaults };
  }

  private target(ends: readonly string[], withNamespace: boolean): Target {
    const { line } = this.current;
    if (withNamespace && this.current.kind === "name" && this.peek().value === "." && this.peek().kind === "operator") {
      const namespace = this.name();
      this.next();
      return { kind: "attribute", namespace, name: this.name() };
    }
    return this.asTarget(this.tuple({ simple: true, ends }), line);
  }

  private asTarget(expression: Expression, line: number): Target {
    if (expression.kind === "name") return { kind: "name", name: expression.name };
    if (expression.kind === "tuple" || expression.kind === "list")
      return { kind: "tuple", items: expression.items.map((item) => this.asTarget(item, line)) };
    throw new TemplateSyntaxError(line, `can't assign to '${expression.kind}'`);
  }
}
