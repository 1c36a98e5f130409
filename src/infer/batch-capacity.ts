/** What the batches of a whole run need, from the sizes of its examples alone. */
import { checkAborted } from "../data/index.js";
import { Pace } from "../base/pace.js";
import { type Batch, capacityFor, joinCapacity, NO_BATCH, touchedRows } from "../memory/batch-tables.js";
import type { Capacity } from "../memory/places.js";
import { groupItems, type PackOptions, packGroups } from "./batching.js";
import type { EncodedSource } from "./encoded-source.js";
import type { ExampleSizes } from "./example-sizes.js";

/** Batches by the indices of their examples. */
export type BatchIndices = Iterable<readonly number[]>;

/**
 * The smallest capacity that holds every batch, as far as sizes tell: of the rows of a gathered table only a bound is
 * known, the sum over the examples.
 */
export async function capacityOfBatches(
  source: EncodedSource,
  sizes: ExampleSizes,
  batches: BatchIndices,
  { limits }: PackOptions,
  vocabSize: number,
  signal?: AbortSignal,
): Promise<Capacity> {
  const pace = new Pace();
  let capacity = NO_BATCH;
  for (const indices of batches) {
    if (pace.due) await pace.turn();
    checkAborted(source.name, signal);
    const groups = groupItems(indices, (i) => sizes.get(i, "tokens"), limits);
    const distinct = indices.reduce((sum, i) => sum + sizes.get(i, "distinct"), 0);
    const micros = groups.map((group) => sizes.together(group));
    capacity = joinCapacity(capacity, capacityFor(micros, Math.min(vocabSize, distinct)));
  }
  return capacity;
}

/** The same with the rows of a gathered table counted, for which the batches have to be packed. */
export async function exactCapacityOfBatches(
  source: EncodedSource,
  capacity: Capacity,
  batches: BatchIndices,
  options: PackOptions,
  signal?: AbortSignal,
): Promise<Capacity> {
  const pace = new Pace();
  let tableRows = 1;
  for (const indices of batches) {
    if (pace.due) await pace.turn();
    checkAborted(source.name, signal);
    const batch: Batch = packGroups(await Promise.all(indices.map((i) => source.at(i))), options);
    tableRows = Math.max(tableRows, capacityFor([], touchedRows(batch).length).tableRows);
  }
  return { ...capacity, tableRows };
}
