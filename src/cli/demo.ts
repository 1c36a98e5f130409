import { join } from "node:path";
import { renderComparison } from "../report/bars.js";
import { formatDuration, formatRate } from "../report/units.js";
import type { EvaluateOptions } from "../config/evaluate.js";
import type { ModelOptions } from "../config/model.js";
import type { TrainerOptions } from "../config/trainer.js";
import { buildEvaluateOptions, buildModelOptions, buildTrainerOptions } from "./build.js";
import type { CommandSpec } from "./command.js";
import { modelLine } from "./describe-model.js";
import { EXIT } from "./exit.js";
import { COMMON_FLAGS, type Flags } from "./flags.js";
import { stopOf } from "./signals.js";
import { checkTarget } from "./target.js";
import { runTraining, scoreText } from "./training.js";

/**
 * What the demo does where no flag says otherwise. The budget is smaller than the weights in fp32 (16.6 MiB),
 * activations included: it has to stream.
 */
export const DEMO_DEFAULTS = {
  steps: 500,
  batchSize: 32,
  learningRate: 1e-4,
  lrSchedule: "linear",
  eps: 1e-3,
  seed: 0,
  offload: "host",
  wire: "fp32",
  deviceMemory: 16 * 2 ** 20,
  // Half a decoder layer: attention, or feed-forward.
  unitBytes: 2_200_000,
  slots: 2,
  microBatchSize: 16,
  maxLength: 96,
  // A few sentences are longer: what is cut is their beginning, never the question.
  truncation: "left",
  prompt: "{text} How is it?",
  choices: [" terrible", " great"],
} as const satisfies Flags;

export const demoCommand: CommandSpec = {
  name: "demo",
  summary: "fine-tune a small model on review sentences, and show what it learned",
  details: "Everything it needs comes with the package. The held-out file is read for the two evaluations only.",
  flags: [
    "steps",
    "seed",
    "learningRate",
    "batchSize",
    "out",
    "offload",
    "deviceMemory",
    "threads",
    "wire",
    ...COMMON_FLAGS,
  ],
  examples: ["zo2 demo", "zo2 demo --steps 100 --seed 1 --json", "zo2 demo --offload device --out tuned"],
  async run(given, context, output) {
    const modelDir = join(context.packageRoot, "docs", "demo", "tiny-opt");
    const reviews = join(context.packageRoot, "docs", "demo", "reviews");
    const { modelOptions, trainerOptions, evaluateOptions } = demoOptions(given);
    if (given.out !== undefined) await checkTarget(given.out, { model: modelDir });
    const api = await context.loadApi();
    const model = await api.loadModel(modelDir, modelOptions, { signal: context.signal });
    try {
      output.say(modelLine(model, { training: true, maxLength: DEMO_DEFAULTS.maxLength }));
      const evaluate = () =>
        model.evaluate(join(reviews, "test.jsonl"), { ...evaluateOptions, signal: context.signal });
      const before = await evaluate();
      output.say(`before: ${scoreText(before)}`);
      const run = {
        model,
        options: trainerOptions,
        data: join(reviews, "train.jsonl"),
        out: given.out,
        saveDtype: undefined,
        metrics: undefined,
      };
      const result = await runTraining(api, run, context, output);
      if (result.interrupted) {
        output.say(
          result.saved
            ? `stopped after ${result.steps} steps; saved to ${given.out ?? ""}`
            : `stopped after ${result.steps} steps`,
        );
        return stopOf(context.signal)?.by === "SIGPIPE" ? EXIT.ok : (stopOf(context.signal)?.exitCode ?? EXIT.failure);
      }
      const after = await evaluate();
      const title = `Reviews called right, of ${after.examples} held-out sentences`;
      const summary =
        `${result.steps} steps in ${formatDuration(result.seconds)}, ` +
        `${formatRate(result.tokensPerSecond, "tokens")}${result.saved ? `; saved to ${given.out ?? ""}` : ""}`;
      await output.result(["", ...renderComparison(title, before, after, output.look), `  ${summary}`], {
        before: { accuracy: before.accuracy, loss: before.loss },
        after: { accuracy: after.accuracy, loss: after.loss },
        steps: result.steps,
        seconds: result.seconds,
      });
      return EXIT.ok;
    } finally {
      await model.dispose();
    }
  },
};

/** The options of a demo run. A resident model needs its own room, so the default budget holds for streaming only. */
export function demoOptions(given: Flags): {
  modelOptions: ModelOptions;
  trainerOptions: TrainerOptions;
  evaluateOptions: EvaluateOptions;
} {
  const { deviceMemory, ...defaults } = DEMO_DEFAULTS;
  const flags: Flags = { ...defaults, ...(given.offload === "device" ? {} : { deviceMemory }), ...given };
  return {
    modelOptions: buildModelOptions(flags, { training: true }),
    trainerOptions: buildTrainerOptions(flags),
    evaluateOptions: buildEvaluateOptions(flags),
  };
}
