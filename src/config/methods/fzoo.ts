import { z } from "zod";
import { epsSchema, MOST_DIRECTIONS, updateOptions } from "./common.js";

export const fzooProbes = z.strictObject({
  name: z.literal("fzoo"),
  /** Directions of a step, each evaluated to one side. 2 .. 64: one alone deviates from nothing. @default 8 */
  directions: z.int().min(2).max(MOST_DIRECTIONS).default(8),
});

/** FZOO: "Fast Zeroth-Order Optimizer" (arXiv 2506.09034). */
export const fzooSchema = fzooProbes.extend({
  ...updateOptions,
  eps: epsSchema,
  /** Distribution of the directions, which is the method's own. @default "rademacher" */
  noise: z.literal("rademacher").default("rademacher"),
});
