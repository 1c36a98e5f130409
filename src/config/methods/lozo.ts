import { z } from "zod";
import { directionsSchema, epsSchema, updateOptions } from "./common.js";

/** Of low-rank noise: `contract/zo2.h`. */
const MOST_RANK = 16;

/** The noise decides on the time of a step as well. */
export const lozoProbes = z.strictObject({
  name: z.literal("lozo"),
  /** Directions of a step, each evaluated to both sides; their gradients are averaged. 1 .. 64. @default 1 */
  directions: directionsSchema.default(1),
  /** Rank of a matrix's directions, which have the variance `rank`. 1 .. 16. @default 2 */
  rank: z.int().min(1).max(MOST_RANK).default(2),
  /** Steps after which the factors of the columns are drawn anew; those of the rows are with every step. @default 50 */
  interval: z
    .int()
    .min(1)
    .max(2 ** 32 - 1)
    .default(50),
});

/** LOZO: "Enhancing Zeroth-order Fine-tuning for Language Models with Low-rank Structures" (arXiv 2410.07698). */
export const lozoSchema = lozoProbes.extend({
  ...updateOptions,
  eps: epsSchema,
  /** Distribution of the directions, which is the method's own. @default "low-rank" */
  noise: z.literal("low-rank").default("low-rank"),
});
