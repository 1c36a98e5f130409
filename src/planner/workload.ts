/** What a training step on equally long sequences is: the room that it takes, and its rows. */
import { packBatch } from "../data/index.js";
import { outputOf } from "../data/batch.js";
import { groupItems } from "../infer/batching.js";
import { checkLength, microBatchTokens } from "../infer/limits.js";
import { exampleOf, SHORTEST } from "../infer/plan-ahead.js";
import { capacityFor, type MicroSizes, microSizes } from "../memory/batch-tables.js";
import type { Capacity } from "../memory/places.js";
import type { ModelDefinition } from "../models/family.js";
import type { Output } from "../ops/value.js";
import type { Symbols } from "../simulate/amounts.js";

export interface WorkloadOptions {
  readonly batchSize: number;
  readonly microBatchSize?: number | undefined;
  readonly maxLength?: number | undefined;
  readonly maxTokens?: number | undefined;
}

export interface Workload {
  readonly sequences: number;
  /** Tokens of each. */
  readonly length: number;
  readonly capacity: Capacity;
  readonly output: Output;
  /** Rows of a micro-batch: their mean, where the last one is smaller. */
  readonly symbols: Symbols;
  /** Rows of the whole step. */
  readonly tokens: number;
}

/** @throws Zo2Error ZO2_ERR_LENGTH past the model's positions */
export function workloadOf({ head, vocabSize, maxPositions }: ModelDefinition, o: WorkloadOptions): Workload {
  const length = Math.max(SHORTEST, checkLength(o.maxLength, maxPositions));
  const limits = { items: o.microBatchSize ?? o.batchSize, tokens: microBatchTokens(o.maxTokens, length) };
  const one = packBatch([
    exampleOf(
      head,
      Int32Array.from({ length }, (_, i) => i % vocabSize),
    ),
  ]);
  const sizes = microSizes(one);
  const groups = groupItems(new Array(o.batchSize).keys(), () => length, limits).map((group) => group.length);
  // As many different tokens as there can be.
  const tableRows = Math.min(vocabSize, o.batchSize * sizes.rows);
  const mean = o.batchSize / groups.length;
  return {
    ...{ sequences: o.batchSize, length, output: outputOf(one.objective), tokens: o.batchSize * sizes.rows },
    capacity: capacityFor(
      groups.map((count) => times(sizes, count)),
      tableRows,
    ),
    // What an adapter puts in front of sequences is small beside them.
    symbols: { ...times(sizes, mean), tableRows, prefixRows: 0, keyRows: sizes.rows * mean },
  };
}

function times(sizes: MicroSizes, count: number): MicroSizes {
  const { rows, sequences, headRows, targets, objectiveWords } = sizes;
  return {
    ...{ rows: rows * count, sequences: sequences * count, headRows: headRows * count, targets: targets * count },
    objectiveWords: objectiveWords * count,
  };
}
