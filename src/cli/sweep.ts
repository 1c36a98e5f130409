import { join } from "node:path";
import { probesOf } from "../config/methods/index.js";
import type { ModelOptions } from "../config/model.js";
import type { SweptValues } from "../config/sweep.js";
import { stepOf } from "../method/index.js";
import { Progress } from "../report/progress.js";
import { formatCount, formatDuration, formatLoss, formatShare } from "../report/units.js";
import { placeTrials } from "../sweep/folder.js";
import { valuesText } from "../sweep/names.js";
import type { SweepTrial } from "../sweep/result.js";
import type { SweepHooks, SweepOptions, SweepResult } from "../sweep/sweep.js";
import { type PlannedTrial, planTrials, plain } from "../sweep/trials.js";
import type { TaskView } from "./api.js";
import {
  buildModelOptions,
  buildTask,
  dataOrTask,
  defined,
  evaluationOf,
  requireFlags,
  trainerOptionsOf,
} from "./build.js";
import type { CommandSpec } from "./command.js";
import type { Context } from "./context.js";
import { EXIT, isStopped } from "./exit.js";
import { COMMON_FLAGS, type Flags, inFlags, longFlag, MODEL_FLAGS, TASK_FLAGS, TEXT_FLAGS } from "./flags.js";
import { openModel } from "./load.js";
import type { Output } from "./output.js";
import { stopOf } from "./signals.js";
import { CONFIG_PLACES, sweepOf } from "./sweep-values.js";
import { openTask } from "./task.js";
import { trainingOf } from "./train.js";
import { rateText, scoreText } from "./training.js";

/** Where no number of steps is common to all trials, and none is given: at the end of each alone. */
const AT_THE_END = 2 ** 31;

export const sweepCommand: CommandSpec = {
  name: "sweep",
  summary: "train with several options on one loaded model, and compare what comes of it",
  details:
    "Needs --model, --data with --eval-data or --task, --out, and --sweep: options and the values to try, as a " +
    "flag or as an object `sweep` in the config file. Every trial begins with the model's own weights, and is a run " +
    "of its own in a folder in --out. The same command goes on with a sweep that was stopped; trials that are there " +
    "already are not trained again.",
  resultMatters: true,
  flags: [
    ...MODEL_FLAGS,
    ...(["rounding", "writeBackEvery", "data", "out", "sweep", "dryRun", "steps", "batchSize"] as const),
    ...(["microBatchSize", "method", "directions", "antithetic", "fitness", "rank", "interval"] as const),
    ...(["learningRate", "lrSchedule"] as const),
    ...(["warmupSteps", "eps", "weightDecay", "noise", "seed", "freeze", "deferredUpdate"] as const),
    ...TEXT_FLAGS,
    ...TASK_FLAGS,
    ...(["objective", "evalData", "evalEvery", "keepBest", "durability", "onDivergence", "config"] as const),
    ...COMMON_FLAGS,
  ],
  help: {
    out: "folder of the sweep: one in it for each trial, sweep.json and report.html",
    keepBest: "compare by the last evaluation of each trial, not by its best",
  },
  examples: [
    "zo2 sweep --config run.yaml --eval-data dev.jsonl --out rates --sweep learningRate=1e-7,1e-6,1e-5 seed=1,2",
    "zo2 sweep --config sweep.yaml --dry-run",
  ],
  async run(given, context, output) {
    const flags = requireFlags(given, [
      ...(["model", "out", "sweep"] as const),
      ...dataOrTask(given),
      ...(given.task === undefined ? (["evalData"] as const) : []),
    ]) as Flags & { readonly model: string; readonly out: string; readonly data: string };
    const asked = buildTask(flags);
    const parts = sweepOf(flags);
    // Of a task the data is there when the model is.
    const { evalData: held, evalEvery: _, ...training } = flags;
    const common = (evalData: unknown) => ({
      ...trainerOptionsOf(training),
      evaluation: evaluationOf({ ...flags, steps: flags.steps ?? AT_THE_END }, evalData as string),
    });
    const planned = planTrials({ ...parts, trainer: common(held ?? []) }, CONFIG_PLACES);
    if (flags.dryRun === true) return dryRun(flags.out, planned, asked === undefined, output);
    const api = await context.loadApi();
    const purpose = { training: true, maxLength: flags.maxLength };
    const model = await openModel(api, flags.model, modelOptions(flags, planned), purpose, context, output);
    let task: TaskView | undefined;
    try {
      task = await openTask(api, asked, context, output);
      const { data, evalData, options } = trainingOf(model, task, common(held), flags);
      const sweep = {
        dir: flags.out,
        data,
        trainer: { ...options, evaluation: common(evalData).evaluation },
        ...parts,
      };
      const result = await api.sweep(model, sweep as SweepOptions, hooksOf(context, output));
      await output.result(resultLines(flags, result), { out: flags.out, ...jsonOf(result) });
      return EXIT.ok;
    } catch (error) {
      if (!isStopped(error)) throw error;
      output.say(`the sweep was stopped; the same command goes on with it, from what is in ${flags.out}`);
      return stopOf(context.signal)?.exitCode ?? EXIT.failure;
    } finally {
      await task?.close();
      await model.dispose();
    }
  },
};

async function dryRun(out: string, planned: readonly PlannedTrial[], places: boolean, output: Output): Promise<number> {
  // What a trial of a task is called, and whether it is there, depends on the task's own options.
  const placed = places ? await placeTrials(out, planned) : [];
  const lines = places
    ? placed.map(({ name, state }) => `${name}  ${state}`)
    : planned.map(({ values }) => valuesText(values));
  const trials = places
    ? placed.map(({ name, values, state }) => plain({ name, values, state }))
    : planned.map(({ values }) => plain({ values }));
  await output.result([`${formatCount(trials.length)} trials`, ...lines], { trials });
  return EXIT.ok;
}

/** The model is loaded for the trial that takes the most. */
function modelOptions(flags: Flags, planned: readonly PlannedTrial[]): ModelOptions {
  const all = planned.map(({ resolved }) => resolved);
  const most = (of: (trial: PlannedTrial["resolved"]) => number) => all.reduce((a, b) => (of(b) > of(a) ? b : a));
  const { method } = most((trial) => stepOf(trial.method).probes.length);
  const batchSize = Math.max(...all.map((trial) => trial.batchSize));
  // What one trial leaves open is open.
  const largest = (sizes: readonly (number | undefined)[]) =>
    sizes.reduce((a, b) => (a === undefined || b === undefined ? undefined : Math.max(a, b)));
  const microBatchSize = largest(all.map((trial) => trial.microBatchSize));
  const maxLength = largest(all.map((trial) => trial.maxLength));
  const workload = { training: true, batchSize, ...defined({ microBatchSize, maxLength }) };
  const { workload: _, ...options } = buildModelOptions(flags, { training: true });
  return { ...options, workload: { ...workload, method: probesOf(method) } } as ModelOptions;
}

/** What is said while trials are trained. */
function hooksOf(context: Context, output: Output): SweepHooks {
  let progress: Progress | undefined;
  const note = (line: string) => {
    if (progress === undefined) output.say(line);
    else progress.note(line);
  };
  return {
    signal: context.signal,
    onTrial: ({ name, index, count, steps, resumed }) => {
      output.say(`trial ${index + 1} of ${count}: ${name}${resumed ? ", goes on" : ""}`);
      if (!output.quiet) progress = new Progress({ steps, stream: context.stderr });
    },
    onStep: (step) => {
      if (progress?.state.done === 0) progress.startAt(step.index);
      progress?.step(step);
    },
    onEvaluation: (evaluation) => {
      note(`evaluation after step ${evaluation.step}: ${scoreText(evaluation)}`);
      progress?.resume();
    },
    onLearningRate: (choice) => note(rateText(choice)),
    onWarning: ({ code, message }) => note(`${code}: ${inFlags(message)}`),
    onTrialEnd: (trial) => {
      progress?.stop();
      progress = undefined;
      output.say(`${trial.name}: ${trial.reused ? "was there already, " : ""}${outcomeText(trial)}`);
    },
  };
}

function outcomeText({ state, steps, evaluation }: SweepTrial): string {
  if (state === "diverged") return `diverged after ${formatCount(steps)} steps`;
  return evaluation === null ? "no evaluation" : `${scoreText(evaluation)} after step ${evaluation.step}`;
}

function resultLines(
  { model, out }: { readonly model: string; readonly out: string },
  { trials, report }: SweepResult,
) {
  const width = Math.max(...trials.map(({ name }) => name.length));
  const rows = trials.map((trial) => {
    const { accuracy = null, loss = NaN } = trial.evaluation ?? {};
    const cells = [trial.name.padEnd(width), formatShare(accuracy).padStart(8), formatLoss(loss).padStart(8)];
    const time = formatDuration(trial.seconds);
    return [
      ...cells,
      trial.state === "done" ? `step ${trial.evaluation?.step ?? "-"}, ${time}` : outcomeText(trial),
    ].join("  ");
  });
  const head = ["trial".padEnd(width), "accuracy", "loss".padStart(8), "best at"].join("  ");
  const [best] = trials;
  const next: string[] = [];
  if (best?.state === "done" && best.evaluation !== null) {
    const flags = `${longFlag("steps")} ${best.evaluation.step} ${longFlag("out")} DIR`;
    next.push(`the best as a model: zo2 replay ${model} ${join(out, best.name)} ${flags}`);
  }
  return [head, ...rows, ...(report === null ? [] : [`all of them in one page: ${report}`]), ...next];
}

function jsonOf({ trials, report }: SweepResult): Record<string, unknown> {
  const rows = trials.map(({ options: _, ...trial }) =>
    plain({ ...trial, values: plain(trial.values as SweptValues) }),
  );
  return { trials: rows, report };
}
