/**
 * A template's text in tokens, with the settings of transformers: `trim_blocks`, `lstrip_blocks`, and a line break at
 * the very end dropped. Line ends of every kind are "\n", as jinja2 makes them before it looks at anything else.
 */
import { TemplateSyntaxError } from "./errors.js";
import { parseFloating } from "./numbers.js";
import { stripped } from "./string-methods.js";
import { BLANKS } from "./text.js";

export type Token =
  | { readonly kind: "data" | "name" | "string"; readonly value: string; readonly line: number }
  | { readonly kind: "integer"; readonly value: bigint; readonly line: number }
  | { readonly kind: "float"; readonly value: number; readonly line: number }
  | {
      /** `value`: the operator, or the mark that opens or closes. */
      readonly kind: "operator" | "variable_begin" | "variable_end" | "block_begin" | "block_end" | "end";
      readonly value: string;
      readonly line: number;
    };

const OPENING = /\{(?:%([-+]?)\s*raw\s*(?:-%\}\s*|%\})|([%{#])([-+]?))/gu;
const COMMENT_END = /\+#\}|-#\}\s*|#\}\n?/gu;
const RAW_END = /\{%([-+]?)\s*endraw\s*(?:\+%\}|-%\}\s*|%\}\n?)/gu;
const BLOCK_END = /\+%\}|-%\}\s*|%\}\n?/uy;
const VARIABLE_END = /-\}\}\s*|\}\}/uy;
const BLANK = /\s+/uy;
const FLOAT = /(?<!\.)(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?e[+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)/iuy;
const INTEGER = /0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*/iuy;
const NAME = /[\p{L}\p{Nl}\p{Nd}_\p{Mn}\p{Mc}\p{Pc}]+/uy;
const STRING = /'(?:[^'\\]|\\[\s\S])*'|"(?:[^"\\]|\\[\s\S])*"/uy;
const OPERATOR = /\/\/|\*\*|==|!=|>=|<=|[-+/*%~[\](){}<>=.:|,;]/uy;
const CLOSERS: Readonly<Record<string, string>> = { "{": "}", "(": ")", "[": "]" };

/** @throws TemplateSyntaxError */
export function tokenize(template: string): Token[] {
  return new Lexer(template.replace(/\r\n?/g, "\n").replace(/\n$/, "")).tokens();
}

class Lexer {
  private readonly found: Token[] = [];
  private at = 0;
  private line = 1;
  /** Whether what was read last ended a line, so that blanks before a block belong to nothing. */
  private lineStarts = true;

  constructor(private readonly source: string) {}

  tokens(): Token[] {
    while (this.at < this.source.length) this.text();
    this.found.push({ kind: "end", value: "end of template", line: this.line });
    return this.found;
  }

  /** Text up to the next opening, and what that opens. */
  private text(): void {
    const { source, at } = this;
    OPENING.lastIndex = at;
    const match = OPENING.exec(source);
    if (match === null) {
      this.data(source.slice(at));
      this.move(source.length);
      return;
    }
    const [whole, rawSign, kind, otherSign] = match;
    this.data(this.cut(source.slice(at, match.index), rawSign ?? otherSign ?? "", kind !== "{"));
    this.move(match.index);
    const { line } = this;
    this.move(match.index + whole.length);
    switch (kind) {
      case undefined:
        return this.raw(line);
      case "#":
        return this.comment(line);
      case "{":
        this.found.push({ kind: "variable_begin", value: whole, line });
        return this.code(VARIABLE_END, "variable_end");
      default:
        this.found.push({ kind: "block_begin", value: whole, line });
        return this.code(BLOCK_END, "block_end");
    }
  }

  /** The text before an opening, without the blanks that its sign, or `lstrip_blocks`, takes away. */
  private cut(text: string, sign: string, isBlock: boolean): string {
    if (sign === "-") return stripped("rstrip", text, null);
    if (sign === "+" || !isBlock) return text;
    const begin = text.lastIndexOf("\n") + 1;
    return (begin > 0 || this.lineStarts) && ALL_BLANK.test(text.slice(begin)) ? text.slice(0, begin) : text;
  }

  private data(value: string): void {
    if (value !== "") this.found.push({ kind: "data", value, line: this.line });
  }

  private move(to: number): void {
    for (let i = this.at; i < to; i++) if (this.source[i] === "\n") this.line++;
    if (to > this.at) this.lineStarts = this.source[to - 1] === "\n";
    this.at = to;
  }

  private raw(line: number): void {
    RAW_END.lastIndex = this.at;
    const match = RAW_END.exec(this.source);
    if (match === null) throw new TemplateSyntaxError(line, "Missing end of raw directive");
    this.data(this.cut(this.source.slice(this.at, match.index), match[1] ?? "", true));
    this.move(match.index + match[0].length);
  }

  private comment(line: number): void {
    COMMENT_END.lastIndex = this.at;
    const match = COMMENT_END.exec(this.source);
    if (match === null) throw new TemplateSyntaxError(line, "Missing end of comment tag");
    this.move(match.index + match[0].length);
  }

  /** Tokens up to what ends a block or a variable. */
  private code(end: RegExp, kind: "variable_end" | "block_end"): void {
    const open: string[] = [];
    while (this.at < this.source.length) {
      const closed = open.length === 0 ? this.take(end) : undefined;
      if (closed !== undefined) {
        this.found.push({ kind, value: closed, line: this.line });
        return;
      }
      if (this.take(BLANK) !== undefined) continue;
      this.found.push(this.token(open));
    }
    throw new TemplateSyntaxError(
      this.line,
      `unexpected end of template, expected ${kind === "block_end" ? "%}" : "}}"}`,
    );
  }

  private take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at;
    const text = pattern.exec(this.source)?.[0];
    if (text !== undefined) this.move(this.at + text.length);
    return text;
  }

  private token(open: string[]): Token {
    const { line } = this;
    const float = this.take(FLOAT);
    if (float !== undefined) return { kind: "float", value: parseFloating(float) ?? 0, line };
    const integer = this.take(INTEGER);
    if (integer !== undefined) return { kind: "integer", value: BigInt(integer.replaceAll("_", "")), line };
    const name = this.take(NAME);
    if (name !== undefined) return { kind: "name", value: name, line };
    const text = this.take(STRING);
    if (text !== undefined) return { kind: "string", value: unescaped(text.slice(1, -1), line), line };
    const operator = this.take(OPERATOR);
    if (operator === undefined)
      throw new TemplateSyntaxError(line, `unexpected char ${JSON.stringify(this.source[this.at])}`);
    const closer = CLOSERS[operator];
    if (closer !== undefined) open.push(closer);
    else if (operator === "}" || operator === ")" || operator === "]") {
      const expected = open.pop();
      if (expected !== operator)
        throw new TemplateSyntaxError(
          line,
          `unexpected '${operator}'${expected === undefined ? "" : `, expected '${expected}'`}`,
        );
    }
    return { kind: "operator", value: operator, line };
  }
}

const ALL_BLANK = new RegExp(`^[${BLANKS}]+$`, "u");
const ESCAPE = /\\(?:([0-7]{1,3})|x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([\s\S]))/g;
const SINGLE: Readonly<Record<string, string>> = {
  "\n": "",
  "\\": "\\",
  "'": "'",
  '"': '"',
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

/** The text of a literal, by Python's escapes; an escape that Python does not know stands as it is. */
function unescaped(body: string, line: number): string {
  return body.replace(ESCAPE, (whole, octal, two, four, eight, single: string | undefined) => {
    const hex: string | undefined = two ?? four ?? eight;
    const code = octal !== undefined ? Number.parseInt(octal, 8) : hex !== undefined ? Number.parseInt(hex, 16) : -1;
    if (code > 0x10ffff) throw new TemplateSyntaxError(line, `no character has the code ${whole}`);
    if (code >= 0) return String.fromCodePoint(code);
    if (single === "x" || single === "u" || single === "U" || single === "N")
      throw new TemplateSyntaxError(line, `the escape ${whole} is cut short`);
    return SINGLE[single ?? ""] ?? whole;
  });
}
