/** Expressions, by the precedence that jinja2 gives its operators. */
import { TemplateSyntaxError } from "./errors.js";
import type { Token } from "./lexer.js";
import type { Arithmetic, Comparison } from "./operators.js";
import type { Arguments, Expression } from "./syntax.js";

interface TupleOptions {
  /** Names and literals alone, as targets of assignments. */
  readonly simple?: boolean;
  /** Whether `a if b else c` may stand in it. */
  readonly condition?: boolean;
  /** Names that end it. */
  readonly ends?: readonly string[];
}

const NO_ARGUMENTS: Arguments = { args: [], named: [], spread: undefined, namedSpread: undefined };
const COMPARISONS = ["==", "!=", "<", "<=", ">", ">="];

export class ExpressionParser {
  private position = 0;

  constructor(private readonly tokens: readonly Token[]) {}

  protected get current(): Token {
    return this.tokens[this.position] as Token;
  }

  protected peek(): Token {
    return this.tokens[Math.min(this.position + 1, this.tokens.length - 1)] as Token;
  }

  protected next(): Token {
    const token = this.current;
    if (token.kind !== "end") this.position++;
    return token;
  }

  protected fail(message: string, line = this.current.line): never {
    throw new TemplateSyntaxError(line, message);
  }

  private unexpected(wanted?: string): never {
    const { kind, value } = this.current;
    const found = kind === "data" ? "template data" : `'${value}'`;
    return this.fail(wanted === undefined ? `unexpected ${found}` : `expected ${wanted}, got ${found}`);
  }

  protected expect(kind: "variable_end" | "block_end"): void {
    if (this.current.kind !== kind) this.unexpected(kind === "block_end" ? "'%}'" : "'}}'");
    this.next();
  }

  private isOperator(value: string): boolean {
    return this.current.kind === "operator" && this.current.value === value;
  }

  private isName(value: string): boolean {
    return this.current.kind === "name" && this.current.value === value;
  }

  protected skipOperator(value: string): boolean {
    if (!this.isOperator(value)) return false;
    this.next();
    return true;
  }

  protected skipName(value: string): boolean {
    if (!this.isName(value)) return false;
    this.next();
    return true;
  }

  protected expectOperator(value: string): void {
    if (!this.skipOperator(value)) this.unexpected(`'${value}'`);
  }

  protected expectName(value: string): void {
    if (!this.skipName(value)) this.unexpected(`'${value}'`);
  }

  protected name(): string {
    const token = this.current;
    if (token.kind !== "name") return this.unexpected("a name");
    this.next();
    return token.value;
  }

  /** One expression, or several with commas between them. */
  protected tuple(
    { simple = false, condition = true, ends = [] }: TupleOptions = {},
    inParentheses = false,
  ): Expression {
    const { line } = this.current;
    const items: Expression[] = [];
    let isTuple = false;
    for (;;) {
      if (items.length > 0) this.expectOperator(",");
      const { kind, value } = this.current;
      const ended =
        kind === "variable_end" ||
        kind === "block_end" ||
        this.isOperator(")") ||
        (kind === "name" && ends.includes(value));
      if (ended) break;
      items.push(simple ? this.primary() : condition ? this.expression() : this.or());
      if (!this.isOperator(",")) break;
      isTuple = true;
    }
    const [only] = items;
    if (!isTuple && only !== undefined) return only;
    if (!isTuple && !inParentheses) this.unexpected("an expression");
    return { kind: "tuple", items, line };
  }

  protected expression(): Expression {
    const { line } = this.current;
    let value = this.or();
    while (this.skipName("if")) {
      const test = this.or();
      const no = this.skipName("else") ? this.expression() : undefined;
      value = { kind: "condition", test, yes: value, no, line };
    }
    return value;
  }

  private or(): Expression {
    let left = this.and();
    while (this.isName("or")) {
      const { line } = this.next();
      left = { kind: "or", left, right: this.and(), line };
    }
    return left;
  }

  private and(): Expression {
    let left = this.not();
    while (this.isName("and")) {
      const { line } = this.next();
      left = { kind: "and", left, right: this.not(), line };
    }
    return left;
  }

  private not(): Expression {
    if (!this.isName("not")) return this.compare();
    const { line } = this.next();
    return { kind: "not", of: this.not(), line };
  }

  private compare(): Expression {
    const { line } = this.current;
    const first = this.sum();
    const rest: [Comparison | "in" | "not in", Expression][] = [];
    for (;;) {
      const { kind, value } = this.current;
      if (kind === "operator" && COMPARISONS.includes(value)) {
        this.next();
        rest.push([value as Comparison, this.sum()]);
      } else if (this.skipName("in")) {
        rest.push(["in", this.sum()]);
      } else if (this.isName("not") && this.peek().kind === "name" && this.peek().value === "in") {
        this.next();
        this.next();
        rest.push(["not in", this.sum()]);
      } else {
        return rest.length === 0 ? first : { kind: "compare", first, rest, line };
      }
    }
  }

  private binary(operators: readonly string[], operand: () => Expression): Expression {
    let left = operand();
    for (;;) {
      const { kind, value, line } = this.current;
      if (kind !== "operator" || !operators.includes(value)) return left;
      this.next();
      left = { kind: "arithmetic", operator: value as Arithmetic, left, right: operand(), line };
    }
  }

  private sum(): Expression {
    return this.binary(["+", "-"], () => this.concat());
  }

  private concat(): Expression {
    const { line } = this.current;
    const items = [this.product()];
    while (this.skipOperator("~")) items.push(this.product());
    return items.length === 1 ? (items[0] as Expression) : { kind: "concat", items, line };
  }

  private product(): Expression {
    return this.binary(["*", "/", "//", "%"], () => this.power());
  }

  private power(): Expression {
    return this.binary(["**"], () => this.unary(true));
  }

  private unary(withFilter: boolean): Expression {
    const { line } = this.current;
    const sign = this.skipOperator("-") ? "negative" : this.skipOperator("+") ? "positive" : undefined;
    const node = sign === undefined ? this.primary() : ({ kind: sign, of: this.unary(false), line } as const);
    const whole = this.postfix(node);
    return withFilter ? this.filtered(whole) : whole;
  }

  protected primary(): Expression {
    const token = this.current;
    const { line } = token;
    switch (token.kind) {
      case "name":
        this.next();
        return CONSTANTS.has(token.value)
          ? { kind: "constant", value: CONSTANTS.get(token.value) ?? null, line }
          : { kind: "name", name: token.value, line };
      case "string": {
        let value = "";
        for (let part = this.current; part.kind === "string"; part = this.current) {
          value += part.value;
          this.next();
        }
        return { kind: "constant", value, line };
      }
      case "integer":
      case "float":
        this.next();
        return { kind: "constant", value: token.value, line };
      case "operator":
        return this.bracketed(token.value, line);
      default:
        return this.unexpected();
    }
  }

  private bracketed(open: string, line: number): Expression {
    if (open === "(") {
      this.next();
      const inside = this.tuple({}, true);
      this.expectOperator(")");
      return inside;
    }
    if (open === "[") return { kind: "list", items: this.listed("]", () => this.expression()), line };
    if (open !== "{") return this.unexpected();
    const entries = this.listed("}", (): readonly [Expression, Expression] => {
      const key = this.expression();
      this.expectOperator(":");
      return [key, this.expression()];
    });
    return { kind: "dict", entries, line };
  }

  /** What stands between an opening bracket, which is the current token, and `close`. */
  private listed<T>(close: string, item: () => T): T[] {
    const items: T[] = [];
    this.next();
    while (!this.isOperator(close)) {
      if (items.length > 0) {
        this.expectOperator(",");
        if (this.isOperator(close)) break;
      }
      items.push(item());
    }
    this.next();
    return items;
  }

  private postfix(node: Expression): Expression {
    let whole = node;
    for (;;) {
      if (this.isOperator(".")) whole = this.attribute(whole);
      else if (this.isOperator("[")) whole = this.item(whole);
      else if (this.isOperator("("))
        whole = { kind: "call", callee: whole, line: this.current.line, ...this.arguments() };
      else return whole;
    }
  }

  private attribute(of: Expression): Expression {
    const { line } = this.next();
    const token = this.next();
    if (token.kind === "name") return { kind: "attribute", of, name: token.value, line };
    if (token.kind !== "integer") return this.fail("expected name or number", token.line);
    return { kind: "item", of, key: { kind: "constant", value: token.value, line }, line };
  }

  private item(of: Expression): Expression {
    const { line } = this.current;
    const keys = this.listed("]", () => this.subscript());
    const [only] = keys;
    const key: Expression = keys.length === 1 && only !== undefined ? only : { kind: "tuple", items: keys, line };
    return { kind: "item", of, key, line };
  }

  private subscript(): Expression {
    const { line } = this.current;
    const bound = () =>
      this.isOperator(":") || this.isOperator("]") || this.isOperator(",") ? undefined : this.expression();
    const start = bound();
    if (start !== undefined && !this.isOperator(":")) return start;
    this.expectOperator(":");
    const stop = bound();
    const step = this.skipOperator(":") ? bound() : undefined;
    return { kind: "slice", start, stop, step, line };
  }

  private arguments(): Arguments {
    const args: Expression[] = [];
    const named: [string, Expression][] = [];
    let spread: Expression | undefined;
    let namedSpread: Expression | undefined;
    const { line } = this.current;
    const ensure = (fine: boolean) => {
      if (!fine) this.fail("invalid syntax for function call expression", line);
    };
    this.listed(")", () => {
      if (this.skipOperator("*")) {
        ensure(spread === undefined && namedSpread === undefined);
        spread = this.expression();
      } else if (this.skipOperator("**")) {
        ensure(namedSpread === undefined);
        namedSpread = this.expression();
      } else if (this.current.kind === "name" && this.peek().kind === "operator" && this.peek().value === "=") {
        ensure(namedSpread === undefined);
        const name = this.name();
        this.next();
        named.push([name, this.expression()]);
      } else {
        ensure(spread === undefined && namedSpread === undefined && named.length === 0);
        args.push(this.expression());
      }
    });
    return { args, named, spread, namedSpread };
  }

  private filtered(node: Expression): Expression {
    let whole = node;
    for (;;) {
      if (this.isOperator("|")) whole = this.filters(whole, false) as Expression;
      else if (this.isName("is")) whole = this.test(whole);
      else if (this.isOperator("("))
        whole = { kind: "call", callee: whole, line: this.current.line, ...this.arguments() };
      else return whole;
    }
  }

  /** Filters behind an expression, or of a block; the first one without its "|" where `begun`. */
  protected filters(of: Expression | undefined, begun: boolean): Expression | undefined {
    let node = of;
    for (let bare = begun; bare || this.isOperator("|"); bare = false) {
      if (!bare) this.next();
      const { line } = this.current;
      const name = this.dotted();
      const given = this.isOperator("(") ? this.arguments() : NO_ARGUMENTS;
      node = { kind: "filter", name, of: node, line, ...given };
    }
    return node;
  }

  private dotted(): string {
    let name = this.name();
    while (this.skipOperator(".")) name += `.${this.name()}`;
    return name;
  }

  private test(of: Expression): Expression {
    const { line } = this.next();
    const negated = this.skipName("not");
    const name = this.dotted();
    const { kind, value } = this.current;
    let given = NO_ARGUMENTS;
    if (this.isOperator("(")) given = this.arguments();
    else if (
      kind === "string" ||
      kind === "integer" ||
      kind === "float" ||
      this.isOperator("[") ||
      this.isOperator("{") ||
      (kind === "name" && !["else", "or", "and"].includes(value))
    ) {
      if (this.isName("is")) this.fail("You cannot chain multiple tests with is");
      given = { ...NO_ARGUMENTS, args: [this.postfix(this.primary())] };
    }
    const test: Expression = { kind: "test", name, of, line, ...given };
    return negated ? { kind: "not", of: test, line } : test;
  }
}

const CONSTANTS: ReadonlyMap<string, boolean | null> = new Map([
  ["true", true],
  ["True", true],
  ["false", false],
  ["False", false],
  ["none", null],
  ["None", null],
]);
