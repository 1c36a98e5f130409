import type { Tokenizer } from "../../../src/tokenizer/types.js";

/** A small generator for random cases, the same in every run. */
export function lcg(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/**
 * A tokenizer of words whose ids can be worked out by hand: each character is its code, except that the pairs in
 * `merges` are one token (1000, 1001, ...). With `bos` every text begins with token 2.
 */
export function spellingTokenizer(merges: readonly string[] = [], bos = true): Tokenizer {
  return {
    ...(bos ? { bosId: 2 } : {}),
    vocabSize: 2000,
    dir: "spelling",
    files: [],
    encode(text, options) {
      const ids = bos && options?.addSpecialTokens !== false ? [2] : [];
      for (let i = 0; i < text.length; i++) {
        const pair = merges.indexOf(text.slice(i, i + 2));
        if (pair >= 0) i++;
        ids.push(pair >= 0 ? 1000 + pair : text.charCodeAt(i));
      }
      return ids;
    },
    decode: () => "",
  };
}

export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}
