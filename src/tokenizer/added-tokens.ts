/**
 * Tokens that stand beside a model's vocabulary, and where they stand in a text. Found as the Rust tokenizers library
 * finds them: the leftmost one, of those that begin there the longest, then on from its end.
 */

/** A token with the rules of how it is found, as `tokenizer.json` lists it under `added_tokens`. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Whether the blanks before it are part of it. */
  readonly lstrip: boolean;
  /** Whether the blanks after it are part of it. */
  readonly rstrip: boolean;
  /** Whether it counts only where no word touches it. */
  readonly single_word: boolean;
  /** Whether it is looked for in the normalised text, and itself normalised before. */
  readonly normalized: boolean;
  /** Whether decoding may leave it out. */
  readonly special: boolean;
}

interface Node {
  readonly next: Map<number, Node>;
  token?: AddedToken;
}

/** Unicode's White_Space, all of it below U+10000. */
const BLANK = /\p{White_Space}/u;

/** What Rust's regular expressions take for `\w`. */
const WORD = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;

/** Finds tokens by the texts that stand for them. The first of two with the same text counts. */
export class AddedTokenFinder {
  private readonly root: Node = { next: new Map() };
  /** Jumps to the next code unit with which any text begins; undefined where there is no text. */
  private readonly begin: RegExp | undefined;

  constructor(tokens: readonly { readonly text: string; readonly token: AddedToken }[]) {
    for (const { text, token } of tokens) {
      if (text === "") continue;
      let node = this.root;
      for (let i = 0; i < text.length; i++) {
        const unit = text.charCodeAt(i);
        let next = node.next.get(unit);
        if (next === undefined) {
          next = { next: new Map() };
          node.next.set(unit, next);
        }
        node = next;
      }
      node.token ??= token;
    }
    const units = [...this.root.next.keys()].map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`);
    this.begin = units.length === 0 ? undefined : new RegExp(`[${units.join("")}]`, "g");
  }

  /** `text` in order: added tokens, and the pieces between them, none of which is empty. */
  split(text: string): (string | AddedToken)[] {
    const { begin } = this;
    if (begin === undefined) return text === "" ? [] : [text];
    const pieces: (string | AddedToken)[] = [];
    // The end of the last token with its blanks. A later one may begin before it: the search goes on behind the token
    // itself, not behind its blanks.
    let done = 0;
    let blanks = { from: 0, to: 0 };
    for (let at = nextMatch(begin, text, 0); at !== -1; ) {
      const found = this.longest(text, at);
      const after = found === undefined ? at + 1 : found.end;
      if (found !== undefined && !(found.token.single_word && touchesWord(text, at, found.end))) {
        const { token } = found;
        let start = at;
        let stop = found.end;
        if (token.lstrip) {
          while (start > done && isBlank(text, start - 1)) start--;
          start = Math.max(start, done);
        }
        if (token.rstrip) {
          // A run of blanks is walked once, however many tokens lie in it.
          if (stop < blanks.from || stop >= blanks.to) {
            let to = stop;
            while (to < text.length && isBlank(text, to)) to++;
            blanks = { from: stop, to };
          }
          stop = Math.max(stop, blanks.to);
        }
        if (done < start) pieces.push(text.slice(done, start));
        // One that lies within the blanks of the token before it is not there.
        if (start < stop) pieces.push(token);
        done = stop;
      }
      at = nextMatch(begin, text, after);
    }
    if (done < text.length) pieces.push(text.slice(done));
    return pieces;
  }

  private longest(text: string, at: number): { token: AddedToken; end: number } | undefined {
    let found: { token: AddedToken; end: number } | undefined;
    let node: Node | undefined = this.root;
    for (let i = at; i < text.length; i++) {
      node = node.next.get(text.charCodeAt(i));
      if (node === undefined) break;
      if (node.token !== undefined) found = { token: node.token, end: i + 1 };
    }
    return found;
  }
}

function nextMatch(pattern: RegExp, text: string, from: number): number {
  pattern.lastIndex = from;
  return pattern.exec(text)?.index ?? -1;
}

function isBlank(text: string, at: number): boolean {
  return BLANK.test(text.charAt(at));
}

function touchesWord(text: string, start: number, end: number): boolean {
  const low = text.charCodeAt(start - 1);
  const wide = start > 1 && (low & 0xfc00) === 0xdc00 && (text.charCodeAt(start - 2) & 0xfc00) === 0xd800;
  const before = start === 0 ? "" : text.slice(start - (wide ? 2 : 1), start);
  const next = text.codePointAt(end);
  return WORD.test(before) || (next !== undefined && WORD.test(String.fromCodePoint(next)));
}
