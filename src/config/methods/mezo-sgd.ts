import { z } from "zod";
import { directionsSchema, epsSchema, noiseSchema, updateOptions } from "./common.js";

/** What decides on the probes of a step. */
export const mezoSgdProbes = z.strictObject({
  name: z.literal("mezo-sgd"),
  /** Directions of a step, each evaluated to both sides; their gradients are averaged. 1 .. 64. @default 1 */
  directions: directionsSchema.default(1),
});

/**
 * MeZO-SGD: Malladi et al. 2023, "Fine-Tuning Language Models with Just Forward Passes" (arXiv 2305.17333), algorithm
 * 1; with several directions its n-SPSA.
 */
export const mezoSgdSchema = mezoSgdProbes.extend({
  ...updateOptions,
  eps: epsSchema,
  /** Distribution of the direction. @default "gaussian" */
  noise: noiseSchema.default("gaussian"),
});
