import type { GenerateModel } from "../../../src/infer/generate/index.js";
import type { PackedBatch } from "../../../src/data/batch.js";
import type { RowRange } from "../../../src/memory/cache-layout.js";
import type { Tokenizer } from "../../../src/tokenizer/index.js";

type Session = GenerateModel["session"];

/** What one pass was given. */
export interface SeenPass {
  readonly batch: readonly PackedBatch[];
  readonly used: readonly RowRange[];
  readonly added: readonly RowRange[];
}

/**
 * A session whose cache holds tokens: `next` tells, from all tokens of a sequence as the tables say that attention sees
 * them, what follows. It refuses to read a row that was not filled, or filled for another position. With `prefixRows`,
 * sequences begin with the tokens -1, -2, ...
 */
export function tokenSession(vocabSize: number, next: (tokens: readonly number[]) => number, prefixRows = 0) {
  const passes: SeenPass[] = [];
  const caches: { readonly rows: number; tier: string | undefined; disposed: boolean }[] = [];
  const stored = new Map<number, { token: number; position: number }>();
  const logitsOf = ({ tokens, positions, sequences, headRows, cacheRows, prefix }: PackedBatch): Float32Array => {
    if (cacheRows === undefined) throw new Error("no cacheRows");
    prefix?.places.forEach((place, i) => {
      const id = prefix.ids[i];
      stored.set(place, { token: -1 - id, position: id - prefixRows });
    });
    tokens.forEach((token, row) => stored.set(cacheRows[row], { token, position: positions[row] }));
    const logits = new Float32Array(headRows.length * vocabSize);
    for (let s = 0; s < sequences.length / 5; s++) {
      const [start, length, prefixStart, prefixLength, keyStart] = sequences.subarray(5 * s, 5 * s + 5);
      if (headRows[s] !== start + length - 1) throw new Error("the head row is not the last one");
      const rows = [
        ...Array.from({ length: prefixLength }, (_, i) => prefixStart + i),
        ...Array.from({ length }, (_, i) => keyStart + i),
      ];
      const seen = rows.map((row, position) => {
        const found = stored.get(row);
        if (found === undefined || found.position !== position - prefixRows)
          throw new Error(`row ${row} has no key of position ${position - prefixRows}`);
        return found.token;
      });
      logits[s * vocabSize + next(seen)] = 1;
    }
    return logits;
  };
  const session = {
    prefixRows,
    createCache: (rows: number, _: readonly PackedBatch[], tier?: string) => {
      const cache = { rows, tier, disposed: false };
      caches.push(cache);
      return Promise.resolve({
        tier: tier ?? "device",
        rows,
        buffer: null,
        dispose: () => void (cache.disposed = true),
      });
    },
    forward: (batch: readonly PackedBatch[], { cache }: { cache: { used: RowRange[]; added: RowRange[] } }) => {
      passes.push({ batch, used: cache.used, added: cache.added });
      return Promise.resolve(batch.map(logitsOf));
    },
  };
  return { session: session as unknown as Session, passes, caches };
}

/** A model of that session. */
export function tokenModel(
  session: Session,
  o: Partial<GenerateModel> & { readonly tokenizer: Tokenizer | null },
): GenerateModel {
  return {
    session,
    dir: "/no/such/folder",
    config: {},
    vocabSize: o.tokenizer?.vocabSize ?? 100,
    maxPositions: 64,
    maxTokens: 64,
    ...o,
  };
}
