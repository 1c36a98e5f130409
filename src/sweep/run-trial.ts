import { join } from "node:path";
import { isZo2Error } from "../base/errors.js";
import { exists } from "../base/files.js";
import { JOURNAL_FILE } from "../journal/read-run.js";
import type { DataSource } from "../infer/source.js";
import type { Model } from "../model.js";
import { METRICS_FILE, MetricsWriter } from "../report/metrics.js";
import { evaluationMetrics, metricsUntil, stepMetrics } from "../train/metrics.js";
import { type FitOptions, type Step, Trainer } from "../train/trainer.js";
import { keepTrial, type PlacedTrial } from "./folder.js";

export interface TrialHooks extends Omit<FitOptions, "onChecked" | "onSnapshot"> {
  /** Sees every step. */
  readonly onStep?: (step: Step) => void;
}

/** Ends of a run that tell something of its options, and nothing of the machine. */
const DIVERGED: readonly string[] = ["ZO2_ERR_NOT_FINITE", "ZO2_ERR_DIVERGED"];

/**
 * Trains a trial from the model's checkpoint on, or goes on with it where its run ends; and writes down what became of
 * it. A run that diverges ends its trial.
 * @returns the trial as it is then
 * @throws whatever else ends a `fit`; the trial goes on there another time
 */
export async function runTrial(
  model: Model,
  trial: PlacedTrial,
  data: DataSource,
  { onStep, ...hooks }: TrialHooks,
): Promise<PlacedTrial> {
  const { dir, options } = trial;
  const begun = performance.now();
  const seconds = () => trial.seconds + (performance.now() - begun) / 1000;
  await keepTrial(trial, { state: "begun", seconds: trial.seconds });
  const { signal, onWarning, onEvaluation } = hooks;
  try {
    await model.withRuns(
      [],
      async () => {
        const trainer = (await exists(join(dir, JOURNAL_FILE)))
          ? await Trainer.resume(model, dir, options, { signal, onWarning })
          : new Trainer(model, { ...options, run: dir });
        await using metrics = await openMetrics(dir, trainer.stepsTaken);
        const fit = trainer.fit(data, {
          ...hooks,
          onEvaluation: async (evaluation) => {
            await metrics.write(evaluationMetrics(evaluation));
            await onEvaluation?.(evaluation);
          },
        });
        for await (const step of fit) {
          await metrics.write(stepMetrics(step));
          onStep?.(step);
        }
      },
      signal === undefined ? {} : { signal },
    );
  } catch (error) {
    if (!isZo2Error(error) || !DIVERGED.includes(error.code)) {
      await keepTrial(trial, { state: "begun", seconds: seconds() });
      throw error;
    }
    return ended(trial, { state: "diverged", seconds: seconds(), message: error.message });
  }
  return ended(trial, { state: "done", seconds: seconds() });
}

async function ended(
  trial: PlacedTrial,
  now: { readonly state: "done" | "diverged"; readonly seconds: number; readonly message?: string },
): Promise<PlacedTrial> {
  await keepTrial(trial, now);
  return { ...trial, ...now };
}

function openMetrics(dir: string, taken: number): Promise<MetricsWriter> {
  return MetricsWriter.resume(join(dir, METRICS_FILE), metricsUntil(taken));
}
