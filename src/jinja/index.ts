/**
 * Jinja templates as transformers runs them: jinja2's immutable sandbox with `trim_blocks`, `lstrip_blocks`, loop
 * controls, `{% generation %}`, and `tojson` as plain JSON. Values print, compare and calculate as Python's.
 */
import { withBudget } from "./budget.js";
import { type Known, toValue } from "./convert.js";
import { RaisedError, TemplateError, TemplateSyntaxError } from "./errors.js";
import { compileBlock } from "./execute.js";
import { GLOBALS } from "./globals.js";
import { Output } from "./output.js";
import { parse } from "./parser.js";
import type { Run, Watcher } from "./run.js";
import { Scope } from "./scope.js";
import { str } from "./text.js";
import { Callable, type Value } from "./values.js";

export type { Known } from "./convert.js";
export { TemplateError, TemplateSyntaxError } from "./errors.js";
export type { Watcher } from "./run.js";
export type { Value } from "./values.js";

export type Variables = Readonly<Record<string, unknown>>;

export class Template {
  private readonly body: ReturnType<typeof compileBlock>;

  /** @throws TemplateSyntaxError with the line */
  constructor(source: string) {
    this.body = compileBlock(parse(source));
  }

  /**
   * The text with `variables`, which are plain data or functions.
   * @param known keeps converted objects for other renderings with the same ones
   * @throws TemplateError with the line, or with the very words of the template's own `raise_exception`
   */
  render(variables: Variables, known: Known = new WeakMap(), watcher: Watcher = {}): string {
    const main = new Output();
    const run: Run = { main, out: main, line: 1, watcher };
    try {
      return withBudget(() => {
        this.body(scopeOf(variables, known), run);
        return main.text();
      });
    } catch (error) {
      if (!(error instanceof TemplateError) || error instanceof RaisedError || error instanceof TemplateSyntaxError)
        throw error;
      throw new TemplateError(`line ${run.line}: ${error.message}`, { cause: error });
    }
  }
}

function scopeOf(variables: Variables, known: Known): Scope {
  const scope = new Scope();
  for (const [name, value] of GLOBALS) scope.set(name, value);
  scope.set("raise_exception", RAISE);
  for (const [name, value] of Object.entries(variables))
    if (value !== undefined) scope.set(name, toValue(value, known));
  // Statements of the outermost level write beside the globals, and over them.
  return new Scope(scope);
}

const RAISE = new Callable("raise_exception", ([message]): Value => {
  throw new RaisedError(message === undefined ? "raise_exception() without a message" : str(message));
});
