/** How many sequences of a batch are on the device at once, where nobody says. */
import { isZo2Error } from "../base/errors.js";

export interface MicroBatchOptions {
  readonly batchSize: number;
  /** What somebody says. */
  readonly microBatchSize?: number | undefined;
}

/**
 * The whole batch, where memory has room for it, else half, and so on to single sequences: larger passes compute
 * faster, and of smaller ones only what lies within a unit takes less.
 * @param use is called with one size after another until it does not throw ZO2_ERR_MEMORY_BUDGET.
 * @throws Zo2Error ZO2_ERR_MEMORY_BUDGET of the smallest
 */
export function largestThatFits<T>(o: MicroBatchOptions, use: (microBatchSize: number) => T): T {
  for (const size of sizesOf(o)) {
    try {
      return use(size);
    } catch (error) {
      if (!isOverBudget(error)) throw error;
    }
  }
  return use(smallestOf(o));
}

/** The same for what takes its time; gives the size as well. */
export async function largestPlanned(
  o: MicroBatchOptions,
  use: (microBatchSize: number) => Promise<void>,
): Promise<number> {
  for (const size of sizesOf(o)) {
    try {
      await use(size);
      return size;
    } catch (error) {
      if (!isOverBudget(error)) throw error;
    }
  }
  await use(smallestOf(o));
  return smallestOf(o);
}

/** All but the smallest. */
function sizesOf({ batchSize, microBatchSize }: MicroBatchOptions): readonly number[] {
  const sizes: number[] = [];
  if (microBatchSize === undefined) for (let size = batchSize; size > 1; size = Math.ceil(size / 2)) sizes.push(size);
  return sizes;
}

function smallestOf({ microBatchSize }: MicroBatchOptions): number {
  return microBatchSize ?? 1;
}

function isOverBudget(error: unknown): boolean {
  return isZo2Error(error) && error.code === "ZO2_ERR_MEMORY_BUDGET";
}
