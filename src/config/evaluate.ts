import { z } from "zod";
import { refineCheck, textOptions } from "./text.js";

/** What `model.evaluate` takes. */
export const evaluateOptionsSchema = z
  .strictObject({
    /** Examples in one batch. @default 16 */
    batchSize: z.int().min(1).default(16),
    ...textOptions,
  })
  .superRefine(refineCheck);

/** Options of `model.evaluate`, as a caller writes them. */
export type EvaluateOptions = z.input<typeof evaluateOptionsSchema>;
