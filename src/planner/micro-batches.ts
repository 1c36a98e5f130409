/** How many sequences of a batch are on the device at once, where nobody says. */
import { isOverBudget, withinBudget } from "../memory/budget.js";

export interface MicroBatchOptions {
  readonly batchSize: number;
  /** What somebody says. */
  readonly microBatchSize?: number | undefined;
}

/**
 * Plans for the whole batch, where memory has room for it, else for half of it, and so on to single sequences: larger
 * passes compute faster, and of smaller ones only what lies within a unit takes less.
 * @throws Zo2Error ZO2_ERR_MEMORY_BUDGET of the smallest
 */
export function planLargest<T>(o: MicroBatchOptions, plan: (microBatchSize: number) => T): T {
  const { larger, smallest } = sizesOf(o);
  for (const size of larger) {
    const fits = withinBudget(() => plan(size));
    if (fits !== null) return fits;
  }
  return plan(smallest);
}

/** The same for what takes its time. @returns the size that was planned for */
export async function planLargestLater(
  o: MicroBatchOptions,
  plan: (microBatchSize: number) => Promise<void>,
): Promise<number> {
  const { larger, smallest } = sizesOf(o);
  for (const size of larger) {
    try {
      await plan(size);
      return size;
    } catch (error) {
      if (!isOverBudget(error)) throw error;
    }
  }
  await plan(smallest);
  return smallest;
}

function sizesOf({ batchSize, microBatchSize }: MicroBatchOptions): { larger: readonly number[]; smallest: number } {
  if (microBatchSize !== undefined) return { larger: [], smallest: microBatchSize };
  const larger: number[] = [];
  for (let size = batchSize; size > 1; size = Math.ceil(size / 2)) larger.push(size);
  return { larger, smallest: 1 };
}
