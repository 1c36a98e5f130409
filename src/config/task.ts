import { z } from "zod";
import type { Frozen } from "./parse.js";
import { hubSchema } from "./model.js";

/** What `loadTask` takes. */
export const taskOptionsSchema = z.strictObject({
  /** Examples to train on. @default that of the task: 1000 */
  train: z.int().min(1).optional(),
  /** Examples to select by, of the same split. @default that of the task: 500, of CB and Copa 100 */
  dev: z.int().min(0).optional(),
  /** Examples to evaluate on. @default that of the task: 1000 */
  test: z.int().min(1).optional(),
  /** Seed of the draw of all three, NumPy's. @default 0 */
  seed: z
    .int()
    .min(0)
    .max(2 ** 32 - 1)
    .default(0),
  /** Whether what MeZO does otherwise than it should is done so too: `docs/tasks.md` lists it. @default false */
  faithful: z.boolean().default(false),
  /**
   * Folder of the data: `train.parquet` or `train.jsonl`, and `validation`, or the parts of the Hub's data sets.
   * @default none: the data comes from the Hub
   */
  data: z.string().min(1).optional(),
  /** Where the data comes from otherwise; as for models. */
  hub: hubSchema.prefault({}),
});

/** Options of `loadTask`, as a caller writes them. */
export type TaskOptions = z.input<typeof taskOptionsSchema>;
export type ResolvedTaskOptions = Frozen<z.output<typeof taskOptionsSchema>>;

/** What `TaskData.evaluate` takes. */
export const taskEvaluateOptionsSchema = z.strictObject({
  /** Demonstrations before each prompt, drawn anew for each of it. @default 0 */
  shots: z.int().min(0).default(0),
  /** Examples in one batch. @default 16 */
  batchSize: z.int().min(1).default(16),
  /** Longest sequence in tokens; what is longer loses its beginning. @default the number of positions of the model */
  maxLength: z.int().min(1).optional(),
});

/** Options of `TaskData.evaluate`, as a caller writes them. */
export type TaskEvaluateOptions = z.input<typeof taskEvaluateOptionsSchema>;
