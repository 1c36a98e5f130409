/** What a prefix is before the first step: the keys and values that the base itself has for some tokens. */
import { BYTES_OF } from "../base/dtype.js";
import { STORED_AS } from "../checkpoint/weights.js";
import type { PackedBatch } from "../data/batch.js";
import { SplitMix64 } from "../data/random.js";
import type { Session } from "../device/session.js";
import type { StoredValues } from "./contents.js";
import { keyName, valueName } from "./prefix.js";

/** As many ids of the vocabulary: a function of the seed alone. */
export function prefixTokens(seed: number, count: number, vocabSize: number): Int32Array {
  const random = new SplitMix64(BigInt(seed));
  return Int32Array.from({ length: count }, () => random.below(vocabSize));
}

/**
 * The keys and values of every layer, by the names of a prefix's parameters: as the base makes them in one forward pass
 * over these tokens, at its first positions, in the compute dtype.
 * @param session of the base with a prefix over it, of as many rows; what that holds does not matter.
 * @throws Zo2Error ZO2_ERR_MEMORY_BUDGET, ZO2_ERR_OUT_OF_MEMORY
 */
export async function keysAndValues(
  session: Pick<Session, "createCache" | "forward" | "settle" | "plan">,
  ids: Int32Array,
): Promise<ReadonlyMap<string, StoredValues>> {
  const batch = [alone(ids)];
  const cache = await session.createCache(ids.length, batch, "host");
  try {
    const rows = [{ start: 0, count: ids.length }];
    await session.forward(batch, { output: "logits", cache: { cache, used: [], added: rows } });
    await session.settle();
    const layout = session.plan?.cache ?? null;
    if (layout === null) throw new Error("the pass had no cache");
    const values = new Map<string, StoredValues>();
    const pieces = layout.units.filter((piece) => piece !== null);
    const attentions = pieces.flatMap((piece) =>
      piece.attentions.map((attention) => ({ ...attention, offset: piece.offset + attention.offset })),
    );
    for (const [layer, { offset, rowBytes, keys, values: valuesOf }] of attentions.entries()) {
      const bytes = new Uint8Array(ids.length * rowBytes);
      cache.buffer.read(offset, bytes);
      const half = (first: number, columns: number): StoredValues => {
        const [begin, width] = [first * BYTES_OF[layout.type], columns * BYTES_OF[layout.type]];
        const own = new Uint8Array(ids.length * width);
        for (let row = 0; row < ids.length; row++)
          own.set(bytes.subarray(row * rowBytes + begin, row * rowBytes + begin + width), row * width);
        return { dtype: STORED_AS[layout.type], shape: [ids.length, columns], bytes: own };
      };
      values.set(keyName(layer), half(0, keys.columns));
      values.set(valueName(layer), half(keys.columns, valuesOf.columns));
    }
    return values;
  } finally {
    cache.dispose();
  }
}

/** These tokens in the place of a prefix, so that positions count from behind them; nothing stands in front of them. */
function alone(ids: Int32Array): PackedBatch {
  const count = ids.length;
  const rows = Int32Array.from(ids, (_, i) => i);
  return {
    tokens: ids,
    positions: rows.map((row) => row - count),
    cacheRows: rows,
    sequences: Int32Array.of(0, count, 0, 0, 0),
    headRows: Int32Array.of(count - 1),
    targets: new Int32Array(0),
    objective: { kind: "none" },
  };
}
