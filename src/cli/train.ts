import { join } from "node:path";
import { renderComparison, type Score } from "../report/bars.js";
import { METRICS_FILE } from "../report/metrics.js";
import { formatDuration, formatLoss, formatRate } from "../report/units.js";
import type { Evaluation } from "../infer/evaluate.js";
import type { DataSource } from "../infer/source.js";
import type { ModelView, TaskView } from "./api.js";
import {
  buildEvaluateOptions,
  buildModelOptions,
  buildTask,
  buildTrainerOptions,
  dataOrTask,
  evaluationOf,
  requireFlags,
} from "./build.js";
import type { CommandSpec } from "./command.js";
import { EXIT } from "./exit.js";
import { COMMON_FLAGS, type Flags, MODEL_FLAGS, TASK_FLAGS, TEXT_FLAGS } from "./flags.js";
import { openModel } from "./load.js";
import { freeRunFolder, keepOptions, resumedFlags } from "./run-options.js";
import { stopOf } from "./signals.js";
import { checkTarget } from "./target.js";
import { openTask } from "./task.js";
import { runTraining, scoreText, type TrainingResult } from "./training.js";

export const trainCommand: CommandSpec = {
  name: "train",
  summary: "fine-tune a model with forward passes only",
  details:
    "Needs --model, --data or --task, --out, --steps and --learning-rate, or --resume. " +
    "Ctrl-C, SIGTERM and SIGHUP finish the " +
    "step in hand and save; twice stops at once. However it ends, --resume goes on behind the last step.",
  resultMatters: true,
  flags: [
    ...MODEL_FLAGS,
    ...([
      "rounding",
      "writeBackEvery",
      "data",
      "out",
      "steps",
      "batchSize",
      "microBatchSize",
      "method",
      "directions",
      "antithetic",
      "rank",
      "interval",
      "fitness",
      "learningRate",
      "lrSchedule",
      "warmupSteps",
      "eps",
      "weightDecay",
      "noise",
      "seed",
      "freeze",
      "deferredUpdate",
    ] as const),
    ...TEXT_FLAGS,
    ...TASK_FLAGS,
    ...(["objective", "evalData", "evalEvery", "keepBest", "metrics", "saveDtype"] as const),
    ...(["run", "durability", "saveEvery", "keep", "onDivergence", "resume", "config"] as const),
    ...COMMON_FLAGS,
  ],
  examples: [
    "zo2 train --model opt-1.3b --data train.jsonl --out tuned --steps 2000 --learning-rate 1e-6 --prompt " +
      '"{text} It was" --choices " terrible" " great"',
    "zo2 train --config run.yaml --eval-data dev.jsonl --eval-every 200 --seed 1",
    "zo2 train --task sst2 --model facebook/opt-1.3b --out tuned --steps 20000 --learning-rate 1e-6 --eval-every 4000",
    "zo2 train --config run.yaml --device-memory 4GiB --unit-bytes 64MiB --json",
    "zo2 train --resume tuned.run",
  ],
  async run(typed, context, output) {
    const { resume } = typed;
    const all = resume === undefined ? typed : await resumedFlags(resume, this.flags, typed);
    const { run, ...flags } = requireFlags(all, ["model", ...dataOrTask(all), "out", "steps", "learningRate"]);
    const asked = buildTask(flags);
    const dir = run === false ? undefined : (run ?? (await freeRunFolder(flags.out)));
    const modelOptions = buildModelOptions(flags, { training: true });
    const given = buildTrainerOptions({ ...flags, ...(dir === undefined ? {} : { run: dir }) });
    const evaluateOptions = buildEvaluateOptions(flags);
    const { model: name, adapter } = flags;
    const kind = modelOptions.adapter === undefined ? "model" : "adapter";
    await checkTarget(flags.out, { model: name, adapter }, kind);
    const api = await context.loadApi();
    const purpose = { training: true, maxLength: flags.maxLength };
    const model = await openModel(api, flags.model, modelOptions, purpose, context, output);
    let task: TaskView | undefined;
    try {
      task = await openTask(api, asked, context, output);
      const { data, evalData, options } = trainingOf(model, task, given, flags);
      const scoring = { ...evaluateOptions, ...task?.options, signal: context.signal };
      const evaluate = (held: DataSource) => model.evaluate(held, scoring);
      let before: Evaluation | undefined;
      const beforeFirstStep = async () => {
        if (evalData === undefined || resume !== undefined) return;
        before = await evaluate(evalData);
        output.say(`before training: ${scoreText(before)}`);
      };
      const result = await runTraining(
        api,
        {
          ...{
            model,
            options,
            data,
            out: flags.out,
            saveDtype: flags.saveDtype,
            metrics: flags.metrics ?? (dir && join(dir, METRICS_FILE)),
          },
          ...{ beforeFirstStep, resume },
          ...(dir === undefined
            ? {}
            : { begins: () => keepOptions(dir, { ...flags, unitBytes: model.plan().unitBytes }) }),
        },
        context,
        output,
      );
      const after =
        result.kept ?? (evalData === undefined || result.interrupted ? undefined : await evaluate(evalData));
      await output.result(resultLines(flags.out, dir, result, before, after, output), {
        accuracy: after?.accuracy ?? null,
        loss: after?.loss ?? numberOrNull(result.loss),
        steps: result.steps,
        seconds: result.seconds,
        tokensPerSecond: result.tokensPerSecond,
        out: result.saved ? flags.out : null,
        ...(dir === undefined ? {} : { run: dir }),
        ...(before === undefined
          ? {}
          : { before: scoreOf(before), after: after === undefined ? null : scoreOf(after) }),
        ...(result.kept === undefined ? {} : { keptStep: result.kept.step }),
        ...(result.interrupted ? { interrupted: true } : {}),
        ...(result.skipped === 0 ? {} : { skipped: result.skipped }),
      });
      if (result.metricsFailure !== undefined) throw result.metricsFailure;
      return result.interrupted ? (stopOf(context.signal)?.exitCode ?? EXIT.failure) : EXIT.ok;
    } finally {
      await task?.close();
      await model.dispose();
    }
  },
};

/** What is trained on, and evaluated on meanwhile: the files that the flags name, or the task's examples. */
export function trainingOf<T extends object>(
  model: ModelView,
  task: TaskView | undefined,
  given: T,
  flags: Flags & { readonly data: string },
) {
  if (task === undefined) return { data: flags.data, evalData: flags.evalData, options: given };
  const evalData = task.sizes.dev === 0 ? undefined : task.dev(model);
  const metric = flags.objective === undefined ? undefined : task.objective(model, flags.maxLength);
  const options = {
    ...{ ...given, ...task.options },
    ...(evalData === undefined ? {} : { evaluation: evaluationOf(flags, evalData) }),
    ...(metric === undefined ? {} : { objective: metric.objective }),
  };
  return { data: metric?.data ?? task.train(model), evalData, options };
}

function resultLines(
  out: string,
  run: string | undefined,
  result: TrainingResult,
  before: Evaluation | undefined,
  after: Score | undefined,
  output: { look: Parameters<typeof renderComparison>[3] },
): string[] {
  const lines = [
    `${result.interrupted ? "stopped after" : "trained"} ${stepsText(result)} in ` +
      `${formatDuration(result.seconds)}, ${formatRate(result.tokensPerSecond, "tokens")}, training loss ` +
      `${formatLoss(result.loss)}`,
  ];
  if (before !== undefined && after !== undefined)
    lines.push(...renderComparison("held-out data", before, after, output.look));
  const resumable = result.interrupted && run !== undefined ? [`to go on: zo2 train --resume ${run}`] : [];
  if (!result.saved) return [...lines, "no step was finished, so nothing was saved", ...resumable];
  return [
    ...lines,
    ...resumable,
    `saved ${result.kept === undefined ? "the last weights" : `the weights after step ${result.kept.step}`} to ${out}`,
  ];
}

function stepsText({ steps, before }: TrainingResult): string {
  return before === 0 ? `${steps} steps` : `${steps - before} steps more, ${steps} in all,`;
}

function scoreOf(score: Score): Score {
  return { accuracy: score.accuracy, loss: score.loss };
}

function numberOrNull(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
