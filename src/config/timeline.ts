import { z } from "zod";
import { methodProbesSchema, noiseOption, refineNoise } from "./methods/index.js";
import { modelOptionsSchema } from "./model.js";

/** What `writeTimeline` takes. */
export const timelineOptionsSchema = z
  .strictObject({
    /** How the model is loaded, as for `loadModel`. */
    model: modelOptionsSchema.prefault({}),
    /** Sequences of the step. @default 1 */
    batchSize: z.int().min(1).default(1),
    /** Sequences of one forward pass. @default batchSize */
    microBatchSize: z.int().min(1).optional(),
    /** Tokens of each sequence. @default 128, or the model's positions where they are fewer */
    maxLength: z.int().min(1).optional(),
    /** The method whose step is drawn, and how many evaluations it has. @default MeZO-SGD with one direction */
    method: methodProbesSchema,
    /** Distribution of the directions. @default that of the method */
    noise: noiseOption,
    /** Whether the machine is measured anew where its figures are kept. @default false */
    measure: z.boolean().default(false),
  })
  .superRefine(refineNoise);

/** Options of `writeTimeline`, as a caller writes them. */
export type TimelineOptions = z.input<typeof timelineOptionsSchema>;
export type ResolvedTimelineOptions = z.output<typeof timelineOptionsSchema>;
