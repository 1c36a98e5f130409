import { at } from "../base/at.js";
import { type PackedBatch, type PrefixRows, SEQUENCE_FIELDS } from "./batch.js";

/** All of an adapter's rows of keys and values in front of each sequence: at `starts`, in rows of keys and values. */
export function prefixAt(starts: readonly number[], count: number): PrefixRows {
  const ids = Int32Array.from({ length: starts.length * count }, (_, i) => i % count);
  return { ids, places: ids.map((id, i) => at(starts, Math.floor(i / count)) + id) };
}

/**
 * The same batch with `count` rows of keys and values in front of every sequence that has no prefix of its own. Those
 * that share one, such as the choices of an example, see both as one range.
 */
export function withPrefix(batch: PackedBatch, count: number): PackedBatch {
  const { tokens, sequences } = batch;
  const cacheRows = new Int32Array(tokens.length);
  const shifted = Int32Array.from(sequences);
  const starts: number[] = [];
  /** By the first row of a sequence: where what stands in front of it begins. */
  const frontOf = new Map<number, number>();
  for (let s = 0; s < sequences.length; s += SEQUENCE_FIELDS) {
    const [start = 0, length = 0, prefixStart = 0, prefixLength = 0] = sequences.subarray(s, s + SEQUENCE_FIELDS);
    if (prefixLength === 0) {
      const front = start + starts.length * count;
      starts.push(front);
      frontOf.set(start, front);
    }
    const front = frontOf.get(prefixLength === 0 ? start : prefixStart);
    if (front === undefined) throw new Error(`rows from ${prefixStart} are the prefix of a sequence, and begin none`);
    const behind = starts.length * count;
    shifted.set([start, length, front, prefixLength + count, start + behind], s);
    for (let row = start; row < start + length; row++) cacheRows[row] = row + behind;
  }
  return { ...batch, sequences: shifted, cacheRows, prefix: prefixAt(starts, count) };
}
