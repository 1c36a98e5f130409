import { z } from "zod";
import { directionsSchema, epsSchema, noiseSchema, updateOptions } from "./common.js";

export const esProbes = z.strictObject({
  name: z.literal("es"),
  /** Directions of a step: the population, or with `antithetic` half of it. 1 .. 64. @default 30 */
  directions: directionsSchema.default(30),
  /** Whether each direction is evaluated to both sides. @default false */
  antithetic: z.boolean().default(false),
});

/** Evolution strategies (arXiv 1703.03864), with the fitness of "ES at scale" as its default. */
export const esSchema = esProbes
  .extend({
    ...updateOptions,
    eps: epsSchema,
    /** Distribution of the directions. @default "gaussian" */
    noise: noiseSchema.default("gaussian"),
    /** What a loss is among those of its step: its z-score, or its centred rank. @default "zscore" */
    fitness: z.enum(["zscore", "rank"]).default("zscore"),
  })
  .superRefine(({ directions, antithetic }, context) => {
    if (directions > 1 || antithetic) return;
    const message = "must be at least 2, or antithetic: one loss alone is neither good nor bad";
    context.addIssue({ code: "custom", path: ["directions"], input: directions, message });
  });
