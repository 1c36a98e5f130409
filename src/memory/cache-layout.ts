import { align, BYTES_OF, type FloatType } from "../base/dtype.js";
import { isParameter } from "../ops/record.js";
import type { Op } from "../ops/row.js";
import type { OpName } from "../ops/table.js";
import type { Value } from "../ops/value.js";
import { ARENA_ALIGNMENT } from "./arena.js";
import type { Unit } from "./units.js";

/**
 * Where the keys and values of one attention lie: rows of [key | value], from `offset` on in the unit's piece. Bytes.
 */
export interface CachedAttention {
  readonly op: Op;
  readonly offset: number;
  readonly rowBytes: number;
  /** The halves of a row, as operands of the unit's program. */
  readonly keys: Value;
  readonly values: Value;
}

/** A unit's piece of the cache. */
export interface CachedUnit {
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
  /** By unit; null where it has no attention. */
  readonly units: readonly (CachedUnit | null)[];
  readonly bytes: number;
}

/** Consecutive rows of a cache. */
export interface RowRange {
  readonly start: number;
  readonly count: number;
}

/** Ops whose keys and values a cache holds. */
const ATTENTIONS: ReadonlySet<string> = new Set<OpName>(["attention", "prefixedAttention"]);

/** @param type the compute dtype, in which keys and values are handed from op to op anyway. */
export function cacheLayout(units: readonly Unit[], rows: number, type: FloatType): CacheLayout {
  let bytes = 0;
  const cached = units.map((unit): CachedUnit | null => {
    let used = 0;
    const attentions = unit.ops.flatMap(({ op }): CachedAttention[] => {
      const k = op.operands["k"] ?? null;
      const v = op.operands["v"] ?? null;
      if (!ATTENTIONS.has(op.name) || k === null || v === null || isParameter(k) || isParameter(v)) return [];
      const columns = k.columns + v.columns;
      const row = { id: -1, name: "cache", rows, columns, kind: "cache" } as const;
      const half = (first: number, count: number): Value => ({ ...row, columns: count, view: { of: row, first } });
      const rowBytes = columns * BYTES_OF[type];
      const attention = { op, offset: used, rowBytes, keys: half(0, k.columns), values: half(k.columns, v.columns) };
      used += align(rows * rowBytes, ARENA_ALIGNMENT);
      return [attention];
    });
    if (attentions.length === 0) return null;
    const piece = { offset: bytes, bytes: used, attentions };
    bytes += used;
    return piece;
  });
  return { rows, type, units: cached, bytes };
}
