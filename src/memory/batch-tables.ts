import { SEQUENCE_FIELDS, TARGET_FIELDS, type PackedBatch } from "../data/batch.js";
import type { RowSymbol } from "../ops/value.js";
import type { BatchLayout } from "./batch-layout.js";
import type { Capacity } from "./places.js";

/** A batch as its micro-batches; they share one visit of every unit. */
export type Batch = readonly PackedBatch[];

/** Counts are rounded up to a multiple of this, so that batches of about the same size share a plan. */
const CAPACITY_STEP = 32;

/** What a pass without a batch needs. */
export const NO_BATCH: Capacity = {
  rows: 1,
  sequences: 1,
  headRows: 1,
  targets: 1,
  tableRows: 1,
  prefixRows: 0,
  keyRows: 1,
  microBatches: 1,
  objectiveWords: 1,
};

/** What one micro-batch needs of a plan; those of examples add up to that of their micro-batch. */
export type MicroSizes = Omit<Capacity, "tableRows" | "prefixRows" | "keyRows" | "microBatches">;

export function microSizes(b: PackedBatch): MicroSizes {
  return {
    rows: b.tokens.length,
    sequences: b.sequences.length / SEQUENCE_FIELDS,
    headRows: b.headRows.length,
    targets: b.targets.length / TARGET_FIELDS,
    objectiveWords: objectiveTables(b).reduce((sum, table) => sum + table.length, 0),
  };
}

/** What a batch needs of a plan. `table`: the rows of the gathered embedding that it touches, if the front gathers. */
export function capacityOf(batch: Batch, table: Int32Array | null): Capacity {
  return capacityFor(batch.map(microSizes), table?.length ?? null);
}

/**
 * What micro-batches of these sizes need of a plan, without what an adapter puts in front of sequences. `tableRows`:
 * null where the front does not gather.
 */
export function capacityFor(micros: readonly MicroSizes[], tableRows: number | null): Capacity {
  const most = (of: keyof MicroSizes) => roundUp(Math.max(1, ...micros.map((sizes) => sizes[of])));
  const rows = most("rows");
  return {
    rows,
    sequences: most("sequences"),
    headRows: most("headRows"),
    targets: most("targets"),
    tableRows: tableRows === null ? 1 : roundUp(tableRows),
    prefixRows: 0,
    keyRows: rows,
    microBatches: micros.length,
    objectiveWords: most("objectiveWords"),
  };
}

/** The tables of an objective, one behind the other in the inputs region; fp32 ones as the words they are. */
export function objectiveTables({ objective }: PackedBatch): Int32Array[] {
  switch (objective.kind) {
    case "choices":
      return [objective.choices, objective.examples];
    case "values":
      return [new Int32Array(objective.labels.buffer, objective.labels.byteOffset, objective.labels.length)];
    case "spans":
      return [objective.examples];
    case "tokens":
    case "none":
      return [];
  }
}

/** How many rows of each kind a run of one micro-batch has. @param table rows of the gathered table, if one is. */
export function symbolsOf(micro: PackedBatch, table: Int32Array | null): Readonly<Record<RowSymbol, number>> {
  const prefixRows = micro.prefix?.ids.length ?? 0;
  return {
    rows: micro.tokens.length,
    sequences: micro.sequences.length / SEQUENCE_FIELDS,
    headRows: micro.headRows.length,
    targets: micro.targets.length / TARGET_FIELDS,
    tableRows: table?.length ?? 0,
    prefixRows,
    keyRows: micro.tokens.length + prefixRows,
  };
}

function roundUp(count: number): number {
  return Math.ceil(count / CAPACITY_STEP) * CAPACITY_STEP;
}

/** The smallest capacity that holds both. */
export function joinCapacity(a: Capacity, b: Capacity): Capacity {
  return {
    rows: Math.max(a.rows, b.rows),
    sequences: Math.max(a.sequences, b.sequences),
    headRows: Math.max(a.headRows, b.headRows),
    targets: Math.max(a.targets, b.targets),
    tableRows: Math.max(a.tableRows, b.tableRows),
    prefixRows: Math.max(a.prefixRows, b.prefixRows),
    keyRows: Math.max(a.keyRows, b.keyRows),
    microBatches: Math.max(a.microBatches, b.microBatches),
    objectiveWords: Math.max(a.objectiveWords, b.objectiveWords),
  };
}

export function holds(capacity: Capacity, needed: Capacity): boolean {
  const joined = joinCapacity(capacity, needed);
  return (Object.keys(joined) as (keyof Capacity)[]).every((key) => joined[key] === capacity[key]);
}

/** Rows of the embedding that a batch touches, ascending, each once. */
export function touchedRows(batch: Batch): Int32Array {
  const rows = new Set<number>();
  for (const b of batch) for (const token of b.tokens) rows.add(token);
  return Int32Array.from(rows).sort();
}

/**
 * Writes a batch into its staging region (`BatchLayout`).
 * @param table rows of the gathered table, ascending; null when tokens index the embedding itself.
 * @param positionRow the row of the position table for each position.
 */
export function writeBatch(
  batch: Batch,
  layout: BatchLayout,
  into: ArrayBuffer,
  table: Int32Array | null,
  positionRow: (position: number) => number,
): void {
  const place = new Map<number, number>();
  table?.forEach((row, i) => {
    place.set(row, i);
  });
  const rowOf = (token: number): number => {
    const row = place.get(token);
    if (row === undefined) throw new RangeError(`token ${token} is not among the rows that are gathered`);
    return row;
  };
  const tables = layout.microBatch;
  batch.forEach((b, m) => {
    const at = (offset: number, length: number) => new Int32Array(into, m * tables.bytes + offset, length);
    at(tables.tokens, b.tokens.length).set(table === null ? b.tokens : b.tokens.map(rowOf));
    at(tables.positions, b.positions.length).set(b.positions.map(positionRow));
    at(tables.sequences, b.sequences.length).set(b.sequences);
    if (b.cacheRows !== undefined) at(tables.cacheRows, b.cacheRows.length).set(b.cacheRows);
    if (b.prefix !== undefined) {
      at(tables.prefixIds, b.prefix.ids.length).set(b.prefix.ids);
      at(tables.prefixPlaces, b.prefix.places.length).set(b.prefix.places);
    }
    at(tables.headRows, b.headRows.length).set(b.headRows);
    at(tables.targets, b.targets.length).set(b.targets);
    let offset = tables.objective;
    for (const words of objectiveTables(b)) {
      at(offset, words.length).set(words);
      offset += words.length * words.BYTES_PER_ELEMENT;
    }
  });
  if (table !== null) new Int32Array(into, layout.tableRows.offset, table.length).set(table);
}
