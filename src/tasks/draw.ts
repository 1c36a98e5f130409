import { Zo2Error } from "../base/errors.js";
import { NumpyRandom } from "./numpy-random.js";
import type { TaskSizes } from "./task.js";

/** Rows of the training split by their index. */
export interface Drawn {
  readonly train: number[];
  readonly dev: number[];
}

/** Where there is too little for both, no more than so much of it is kept to select by. */
const DEV_SHARE = 1 / 3;

/**
 * MeZO's draw of `rows`: the first of NumPy's permutation, dev behind train. Where the rows are too few for both, the
 * original gives dev all that it asks for, whatever is left to train on.
 * @throws Zo2Error ZO2_ERR_DATA where nothing is left
 */
export function drawTraining(
  rows: number,
  sizes: Pick<TaskSizes, "train" | "dev">,
  seed: number,
  faithful: boolean,
): Drawn {
  const drawn = firstOf(rows, sizes.train + sizes.dev, seed);
  const few = drawn.length < sizes.train + sizes.dev && !faithful;
  const dev = few ? Math.min(sizes.dev, Math.floor(drawn.length * DEV_SHARE)) : sizes.dev;
  if (drawn.length <= dev)
    throw new Zo2Error(
      "ZO2_ERR_DATA",
      `of ${rows} rows to train on, ${dev} are kept to select by, so that none is left; lower option "dev"`,
    );
  return { train: drawn.slice(0, drawn.length - dev), dev: drawn.slice(drawn.length - dev) };
}

/** The first `count` of NumPy's permutation of `rows`. */
export function firstOf(rows: number, count: number, seed: number): number[] {
  return Array.from(new NumpyRandom(seed).permutation(rows).subarray(0, count));
}

/** Seeds below it, drawn with seed 0: one for the demonstrations of each evaluated example. */
const SEEDS = 10_000;

export function demonstrationSeeds(examples: number): number[] {
  return new NumpyRandom(0).integers(SEEDS, examples);
}
