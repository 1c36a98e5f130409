/** The run that `train` and `demo` share: steps with progress and metrics, evaluations, and what is saved. */
import type { TrainerOptions } from "../config/trainer.js";
import { checkedLines, CheckView, type CheckState } from "../report/check.js";
import { MetricsWriter } from "../report/metrics.js";
import { Progress } from "../report/progress.js";
import { formatDuration, formatLoss, formatShare } from "../report/units.js";
import type { DataSource } from "../infer/source.js";
import type { FloatType } from "../base/dtype.js";
import type { Warning } from "../base/warnings.js";
import type { ReplayProgress } from "../run/replay.js";
import { evaluationMetrics, metricsUntil, stepMetrics } from "../train/metrics.js";
import type { RateChoice } from "../train/rate-rule.js";
import type { CheckedData } from "../train/run-data.js";
import type { BestEvaluation, Snapshot, TrainingEvaluation } from "../train/trainer.js";
import type { Api, ModelView, TrainerView } from "./api.js";
import type { Context } from "./context.js";
import { describeError, isStopped } from "./exit.js";
import { isZo2Error } from "../base/errors.js";
import { inFlags, longFlag } from "./flags.js";
import type { Output } from "./output.js";

export interface TrainingRun {
  readonly model: ModelView;
  readonly options: TrainerOptions;
  /** Path of the training data, or that of a task. */
  readonly data: DataSource;
  /** Folder for the tuned model; none: nothing is saved. */
  readonly out: string | undefined;
  readonly saveDtype: FloatType | "wire" | undefined;
  /** Path of the metrics; none: none are written. */
  readonly metrics: string | undefined;
  /** Folder of the run to go on with; none: a new one begins. */
  readonly resume?: string | undefined;
  /** Awaited when the data is known to be good: the run begins, or goes on. */
  readonly begins?: () => Promise<void>;
  /** Awaited behind that, before the first step. */
  readonly beforeFirstStep?: () => Promise<void>;
}

export interface TrainingResult {
  /** Of the run. */
  readonly steps: number;
  /** That another process had taken. */
  readonly before: number;
  readonly seconds: number;
  readonly tokensPerSecond: number;
  /** Mean loss of the last steps (at most 50); NaN when there was no step. */
  readonly loss: number;
  /** It was stopped early, by what `Context.signal` says. */
  readonly interrupted: boolean;
  /** The first failure of the metrics, which did not end the run: to be thrown when the result has been told. */
  readonly metricsFailure: unknown;
  /** The evaluation of the weights that were saved, as far as there was one. */
  readonly kept: BestEvaluation | undefined;
  /** Whether `out` holds a tuned model now. */
  readonly saved: boolean;
  /** Lines of the training data that were left out. */
  readonly skipped: number;
}

const LOSS_WINDOW = 50;

/** Ends of a run that dropping steps gets over. */
const WENT_WRONG: readonly string[] = ["ZO2_ERR_NOT_FINITE", "ZO2_ERR_DIVERGED"];

/**
 * Trains, and saves the weights: those of the best evaluation where there is one and it is to be kept, else the last.
 * Where it was stopped the step in hand has been finished and is part of what is saved. Metrics that cannot be written
 * are no reason to lose a run.
 */
export async function runTraining(
  api: Api,
  run: TrainingRun,
  context: Context,
  output: Output,
): Promise<TrainingResult> {
  const keepBest =
    run.options.evaluation !== undefined && run.options.evaluation.keepBest !== false && run.out !== undefined;
  let metrics: MetricsWriter | undefined;
  const progress = output.quiet ? undefined : new Progress({ steps: run.options.steps, stream: context.stderr });
  const losses: number[] = [];
  let steps = 0;
  let before = 0;
  let tokens = 0;
  let seconds = 0;
  let best: BestEvaluation | undefined;
  let last: TrainingEvaluation | undefined;
  let interrupted = false;
  let skipped = 0;
  let metricsFailure: unknown;

  const note = (line: string) => {
    if (progress === undefined) output.say(line);
    else progress.note(line);
  };
  const record = async (values: Readonly<Record<string, unknown>>) => {
    try {
      await metrics?.write(values);
    } catch (error) {
      if (metricsFailure === undefined) note(`${describeError(error, false)}; training goes on`);
      metricsFailure ??= error;
    }
  };
  const save = async () => {
    if (run.out !== undefined)
      await run.model.save(run.out, run.saveDtype === undefined ? {} : { dtype: run.saveDtype });
  };
  const onEvaluation = async (evaluation: TrainingEvaluation) => {
    last = evaluation;
    await record(evaluationMetrics(evaluation));
    const line =
      `evaluation after step ${evaluation.step}: ` +
      `${scoreText(evaluation)}${evaluation.best ? ", the best so far" : ""}`;
    note(line);
    if (keepBest && evaluation.best) {
      await save();
      best = evaluation;
    }
    progress?.resume();
  };

  const begin = async () => {
    await run.begins?.();
    metrics = await openMetrics(run, steps);
  };

  using view = new CheckView(context.stderr);
  const onChecked = async ({ training, evaluation }: CheckedData) => {
    view.stop();
    await begin();
    skipped = training.skipped.count;
    for (const report of [training, evaluation])
      if (report !== null) output.say(inFlags(checkedLines(report).join("\n")));
    await run.beforeFirstStep?.();
    progress?.resume();
  };

  try {
    const trainer = await openTrainer(api, run, context, output);
    before = steps = trainer.stepsTaken;
    // What another process has saved stays, until there is something better.
    if (keepBest) best = trainer.bestEvaluation ?? undefined;
    progress?.startAt(steps);
    if (run.options.checkData === false) {
      await begin();
      await run.beforeFirstStep?.();
    }
    const hooks = {
      signal: context.signal,
      onEvaluation,
      onChecked,
      onLearningRate: (choice: RateChoice) => note(rateText(choice)),
      onWarning: ({ code, message }: Warning) => note(`${code}: ${inFlags(message)}`),
      onSnapshot: ({ step, dir, seconds }: Snapshot) =>
        note(`snapshot after step ${step} in ${formatDuration(seconds)}: ${dir}`),
      ...(output.quiet ? {} : { onCheck: (state: CheckState) => view.show(state) }),
    };
    for await (const step of trainer.fit(run.data, hooks)) {
      steps = step.index + 1;
      tokens += step.tokens;
      seconds += step.seconds;
      losses.push(step.loss);
      if (losses.length > LOSS_WINDOW) losses.shift();
      progress?.step(step);
      await record(stepMetrics(step));
    }
  } catch (error) {
    if (!isStopped(error)) {
      const { run: dir } = run.options;
      if (dir !== undefined && isZo2Error(error) && WENT_WRONG.includes(error.code)) {
        output.say(
          `the run is whole up to the step before: zo2 train ${longFlag("resume")} ${dir} ` +
            `${longFlag("onDivergence")} skip goes on without that one`,
        );
      }
      throw error;
    }
    interrupted = true;
  } finally {
    progress?.stop();
    await metrics?.close().catch((error: unknown) => (metricsFailure ??= error));
  }

  // Nothing worse replaces the best: it has been saved when it was found.
  if (best === undefined && steps > 0) await save();
  return {
    ...{ steps, before },
    seconds,
    tokensPerSecond: seconds > 0 ? tokens / seconds : 0,
    loss: losses.length === 0 ? NaN : losses.reduce((sum, loss) => sum + loss, 0) / losses.length,
    interrupted,
    metricsFailure,
    kept: best ?? (interrupted ? undefined : last),
    saved: run.out !== undefined && (best !== undefined || steps > 0),
    skipped,
  };
}

/** Begins a run, or goes on with one. */
async function openTrainer(
  api: Api,
  { model, options, resume }: TrainingRun,
  context: Context,
  output: Output,
): Promise<TrainerView> {
  if (resume === undefined) return api.createTrainer(model, options);
  let unitsKept = undefined as number | undefined;
  const onProgress = (progress: ReplayProgress) => {
    unitsKept = progress.unitsKept;
  };
  const trainer = await api.resumeTrainer(model, resume, options, { signal: context.signal, onProgress });
  const kept = unitsKept === undefined ? "" : `; ${unitsKept} units are taken from what they have left on disk`;
  output.say(`${resume}: ${trainer.stepsTaken} of ${options.steps} steps were taken before${kept}`);
  return trainer;
}

/** Those of a run go on behind the steps that its journal holds. */
async function openMetrics({ metrics, resume }: TrainingRun, before: number): Promise<MetricsWriter | undefined> {
  if (metrics === undefined) return undefined;
  if (resume === undefined) return MetricsWriter.create(metrics);
  return MetricsWriter.resume(metrics, metricsUntil(before));
}

/** What a learning rate was chosen by. */
export function rateText({ learningRate, directions, curvature, slope, coefficient, ...choice }: RateChoice): string {
  const { bound, share } = choice;
  const why = bound
    ? "so that no step goes further than ten times eps"
    : `${Number(share.toPrecision(2))} of the inverse curvature`;
  const made = coefficient === slope ? "" : ` (of which the method makes ${coefficient.toPrecision(3)})`;
  return (
    `learning rate ${learningRate}, ${why}: along ${directions} directions the projected gradient is ` +
    `${slope.toPrecision(3)}${made} and the curvature ${curvature.near.toPrecision(3)} over eps, ` +
    `${curvature.far.toPrecision(3)} over twice that (root mean squares)`
  );
}

/** `accuracy 71.6 %, loss 0.5464`, or the loss alone. */
export function scoreText(score: { readonly accuracy: number | null; readonly loss: number }): string {
  return `${score.accuracy === null ? "" : `accuracy ${formatShare(score.accuracy)}, `}loss ${formatLoss(score.loss)}`;
}
