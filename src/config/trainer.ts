import { z } from "zod";
import type { Frozen } from "./parse.js";
import { methodSchema } from "./methods/index.js";
import { objectiveSchema } from "./objective.js";
import { seedSchema } from "./seed.js";
import { refineCheck, textOptions } from "./text.js";

const evaluationSchema = z.strictObject({
  /** Held-out data: the path of a JSON Lines file, or example objects. */
  data: z.unknown().refine((data) => data !== undefined && data !== null, { error: "must be a path or examples" }),
  /** Steps between two evaluations; the last step is always evaluated. */
  every: z.int().min(1),
  /**
   * Whether the caller keeps the weights of the best evaluation (the command line does) instead of the last. @default
   * true
   */
  keepBest: z.boolean().default(true),
  /** Examples in one batch of the evaluation. @default 16 */
  batchSize: z.int().min(1).default(16),
});

const snapshotsSchema = z.strictObject({
  /** Steps between two snapshots. */
  every: z.int().min(1),
  /** Snapshots to keep; while one is written there is one more. @default 2 */
  keep: z.int().min(1).default(2),
});

/** See option `onDivergence`. */
export type OnDivergence = "stop" | "skip" | "ignore" | `rollback:${number}`;
const ON_DIVERGENCE = /^(?:stop|skip|ignore|rollback:([1-9]\d{0,9}))$/;

const perStep = <T>() =>
  z.custom<(step: number) => T>((value) => typeof value === "function", { error: "must be a function of the step" });

const testSchema = z.strictObject({
  /** z of a step, fp32, in the canonical order, instead of drawn noise. @default none */
  noise: perStep<Float32Array>().optional(),
  /** The coefficients of a step, or that of its one direction, instead of those of its losses. @default none */
  projectedGradient: perStep<number | readonly number[]>().optional(),
});

/** What `new Trainer(model, options)` takes. */
export const trainerOptionsSchema = z
  .strictObject({
    /** The method and its own options, told apart by `name`. */
    method: methodSchema,
    /** Steps to take. Required. */
    steps: z.int().min(1),
    /** Examples in one step. @default 16 */
    batchSize: z.int().min(1).default(16),
    /**
     * Examples that are on the device at once; changes memory and not the result. @default batchSize, or where memory
     * has no room for that, half of it, and so on
     */
    microBatchSize: z.int().min(1).optional(),
    /** Seed of the noise and of the order of the examples: any 64-bit integer. @default 0 */
    seed: seedSchema.default(0n),
    ...textOptions,
    /** Parameters to leave alone, by name; `*` stands for any text: `"model.decoder.embed_*"`. @default [] */
    freeze: z.array(z.string().min(1)).readonly().default([]),
    /** Whether a unit's update waits for its next visit, which saves a pass over the weights. @default true */
    deferredUpdate: z.boolean().default(true),
    /**
     * An objective computed in TypeScript instead of the data's own loss; it costs the overlap of steps. @default none
     */
    objective: objectiveSchema.optional(),
    /** Evaluation during training. @default none */
    evaluation: evaluationSchema.optional(),
    /**
     * Folder that keeps the run: its journal, from which every step can be taken up or replayed to the bit. @default
     * none: nothing is kept
     */
    run: z.string().min(1).optional(),
    /**
     * When what is written of the run is on the disk itself: about every `"second"`, at every `"step"`, or when the
     * system likes (`"never"`). The end of the process costs nothing in either case; that of the machine costs what was
     * not on the disk.
     * @default "second"
     */
    durability: z.enum(["second", "step", "never"]).default("second"),
    /**
     * Weights that are kept amid the run, as folders of Hugging Face's in its folder's `snapshots/`: a run is taken up
     * from the newest, without the replay of what came before. Needs `run`. @default none
     */
    snapshots: snapshotsSchema.optional(),
    /**
     * What becomes of a step with a loss or coefficient that is not finite, with a coefficient far outside of those
     * before it, or at the end of many steps whose losses were 0 or equal in every probe. `"stop"` ends the run before
     * it. `"skip"` goes on as if its update had been none, and `"rollback:N"` as if those of the last N steps had; both
     * rebuild the weights from the journal, and need `run`. `"ignore"` takes every step whose numbers are finite.
     * @default "stop"
     */
    onDivergence: z
      .custom<OnDivergence>((value) => typeof value === "string" && ON_DIVERGENCE.test(value), {
        error: 'must be "stop", "skip", "ignore", or "rollback:" with a number of steps, such as "rollback:20"',
      })
      .default("stop"),
    /** Switches for tests: recorded noise and gradients put in place of the run's own. */
    test: testSchema.optional(),
  })
  .superRefine((options, context) => {
    refineCheck(options, context);
    const { microBatchSize, batchSize, steps, run, test, snapshots, onDivergence } = options;
    if (run === undefined && snapshots !== undefined) {
      const message = 'needs option "run", in whose folder they are kept';
      context.addIssue({ code: "custom", path: ["snapshots", "every"], input: snapshots.every, message });
    }
    if (run === undefined && stepsToDrop(onDivergence) > 0) {
      const message = 'needs option "run", from whose journal the weights are rebuilt';
      context.addIssue({ code: "custom", path: ["onDivergence"], input: onDivergence, message });
    }
    if (run !== undefined && test?.noise !== undefined) {
      const message = "must be absent with test.noise, which no journal holds";
      context.addIssue({ code: "custom", path: ["run"], input: run, message });
    }
    if (options.method.learningRate === "auto" && options.objective !== undefined) {
      const message = 'needs the data\'s own loss; give a number with option "objective"';
      const path = ["method", "learningRate"];
      context.addIssue({ code: "custom", path, input: options.method.learningRate, message });
    }
    const { warmupSteps } = options.method.schedule;
    if (microBatchSize !== undefined && microBatchSize > batchSize) {
      context.addIssue({
        code: "custom",
        path: ["microBatchSize"],
        input: microBatchSize,
        message: `must be at most batchSize (${batchSize})`,
      });
    }
    if (warmupSteps > steps) {
      context.addIssue({
        code: "custom",
        path: ["method", "schedule", "warmupSteps"],
        input: warmupSteps,
        message: `must be at most steps (${steps})`,
      });
    }
  });

/** Steps whose updates do not count where a guard speaks, that at which it does among them; 0: the run ends there. */
export function stepsToDrop(onDivergence: OnDivergence): number {
  if (onDivergence === "skip") return 1;
  return Number(ON_DIVERGENCE.exec(onDivergence)?.[1] ?? 0);
}

/** Options of `Trainer`, as a caller writes them. */
export type TrainerOptions = z.input<typeof trainerOptionsSchema>;
/** Options of `Trainer` with every default filled in; frozen. `seed` is the 64 bits as an unsigned bigint. */
export type ResolvedTrainerOptions = Frozen<z.output<typeof trainerOptionsSchema>>;
