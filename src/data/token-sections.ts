import { at } from "../base/at.js";
import type { Steps } from "../base/steps.js";
import type { Tokenizer } from "../tokenizer/index.js";
import { commonPrefix } from "./tokens.js";

/** Tokens of a text, and how many of them each beginning of the text has alone. */
export interface TokenizedText {
  readonly ids: readonly number[];
  /** How many tokens the first `length` UTF-16 units share with the whole, from the front. */
  readonly shared: (length: number) => number;
}

/**
 * The tokens of `text`, made section by section: a special token splits a text before anything else is looked at, so
 * that what stands before it and what follows have their tokens each by itself. `encode` must be that of `tokenizer`.
 */
export function* tokenizeSections(
  tokenizer: Tokenizer,
  text: string,
  encode: (text: string) => number[],
): Steps<TokenizedText> {
  const known = new Map<string, number[]>();
  // Headers and closing marks come again in every turn.
  const encodeOnce = (part: string): number[] => {
    const ready = known.get(part) ?? encode(part);
    known.set(part, ready);
    return ready;
  };
  const starts = sectionStarts(text, tokenizer.splitters ?? []);
  const ids: number[] = [];
  const firstToken: number[] = [];
  for (const [i, { start }] of starts.entries()) {
    firstToken.push(ids.length);
    for (const id of encodeOnce(text.slice(start, starts[i + 1]?.start))) ids.push(id);
    yield;
  }
  const shared = (length: number): number => {
    if (length >= text.length) return ids.length;
    // A special token that is cut through splits nothing.
    const section = lastIndexWhere(starts, ({ start, mark }) => start === length || start + mark <= length);
    const { start } = at(starts, section);
    const from = at(firstToken, section);
    if (start === length) return from;
    const alone = encodeOnce(text.slice(start, length));
    return from + commonPrefix(alone, ids.slice(from, from + alone.length));
  };
  return { ids, shared };
}

interface Section {
  readonly start: number;
  /** Length of the special token that it begins with; 0 for the first one, which need not begin with any. */
  readonly mark: number;
}

function sectionStarts(text: string, splitters: readonly string[]): Section[] {
  const sections: Section[] = [{ start: 0, mark: 0 }];
  if (splitters.length === 0) return sections;
  const longestFirst = [...splitters].sort((a, b) => b.length - a.length);
  const pattern = new RegExp(longestFirst.map((mark) => mark.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|"), "g");
  for (const { index, 0: mark } of text.matchAll(pattern))
    if (index > 0) sections.push({ start: index, mark: mark.length });
  return sections;
}

/** By bisection; what holds for an item holds for all before it. */
function lastIndexWhere<T>(items: readonly T[], holds: (item: T) => boolean): number {
  let low = 0;
  let high = items.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (holds(items[middle] as T)) low = middle;
    else high = middle;
  }
  return low;
}
