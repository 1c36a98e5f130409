import type { Op } from "../ops/record.js";
import { align, BYTES_OF, type FloatType } from "../base/dtype.js";
import type { Unit } from "./units.js";

type AttentionOp = Extract<Op, { kind: "attention" }>;

/**
 * Where the keys and values of one attention lie: rows of [key | value], from `offset` on in the unit's piece of the
 * cache. Bytes.
 */
export interface CachedAttention {
  readonly op: AttentionOp;
  readonly offset: number;
  readonly rowBytes: number;
}

/** A unit's piece of the cache. */
export interface CachedUnit {
  readonly unit: number;
  /** Of the piece, from the start of the cache. Bytes. */
  readonly offset: number;
  readonly bytes: number;
  readonly attentions: readonly CachedAttention[];
}

/**
 * The key/value cache of a generation: as many rows for every attention as all its sequences may come to have tokens.
 */
export interface CacheLayout {
  readonly rows: number;
  readonly type: FloatType;
  /** Those with an attention, in order. */
  readonly units: readonly CachedUnit[];
  readonly bytes: number;
}

const ALIGNMENT = 256;

/** @param type the compute dtype, in which keys and values are handed from op to op anyway. */
export function cacheLayout(units: readonly Unit[], rows: number, type: FloatType): CacheLayout {
  let bytes = 0;
  const cached = units.flatMap((unit): CachedUnit[] => {
    let used = 0;
    const attentions = unit.ops.flatMap(({ op }): CachedAttention[] => {
      if (op.kind !== "attention") return [];
      const rowBytes = (op.k.columns + op.v.columns) * BYTES_OF[type];
      const attention = { op, offset: used, rowBytes };
      used += align(rows * rowBytes, ALIGNMENT);
      return [attention];
    });
    if (attentions.length === 0) return [];
    const piece = { unit: unit.index, offset: bytes, bytes: used, attentions };
    bytes += used;
    return [piece];
  });
  return { rows, type, units: cached, bytes };
}

/** Consecutive rows of a cache. */
export interface RowRange {
  readonly start: number;
  readonly count: number;
}
