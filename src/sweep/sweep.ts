import { join } from "node:path";
import { Zo2Error } from "../base/errors.js";
import { exists, makeFolder, replaceTextFile } from "../base/files.js";
import { messageOf } from "../base/guards.js";
import { parseOptions } from "../config/parse.js";
import { type SweptValues, sweepOptionsSchema } from "../config/sweep.js";
import type { TrainerOptions } from "../config/trainer.js";
import { packageVersion } from "../device/package-version.js";
import { checkLength } from "../infer/limits.js";
import type { DataSource } from "../infer/source.js";
import { JOURNAL_FILE, readRun } from "../journal/read-run.js";
import { loadedOf } from "../loaded.js";
import type { Model } from "../model.js";
import { matchParameters } from "../models/match-parameters.js";
import { writeReport } from "../page/report.js";
import { type PlacedTrial, placeTrials } from "./folder.js";
import { checkKept } from "./kept.js";
import { ranked, type SweepTrial, trialResult } from "./result.js";
import { runTrial, type TrialHooks } from "./run-trial.js";
import { plain, type PlannedTrial, planTrials } from "./trials.js";

/** Options of a `Trainer` that the trials have in common; what each has of its own may be absent. */
export type CommonTrainerOptions = {
  readonly [K in Exclude<keyof TrainerOptions, "method" | "run">]?: TrainerOptions[K];
} & { readonly method?: SweptValues };

/** Options of `sweep`. */
export interface SweepOptions {
  /** Folder of the sweep: a folder in it keeps each trial, as option `run` of a `Trainer` does. */
  readonly dir: string;
  /** What every trial trains on: a path, a list of examples, or a data set that is open. */
  readonly data: DataSource;
  /** What the trials have in common; with `evaluation`, by which they are compared. */
  readonly trainer: CommonTrainerOptions;
  /**
   * Options of which lists are tried, in every combination: by name, a method's own without their `method.`. A method
   * is its name, or an object with options of its own, which may be lists too. @default {}
   */
  readonly grid?: SweptValues;
  /** Trials besides those of the grid: one value of each option. @default [] */
  readonly trials?: readonly SweptValues[];
}

export interface SweepHooks extends TrialHooks {
  /** Sees each trial before it is trained; `index` from 0, of `count` in all. */
  readonly onTrial?: (trial: TrialPlace) => void;
  /** Sees what each came to, those that were there already first. */
  readonly onTrialEnd?: (trial: SweepTrial) => void;
}

/** A trial that is about to be trained. */
export interface TrialPlace {
  readonly name: string;
  readonly dir: string;
  readonly values: SweptValues;
  readonly steps: number;
  readonly index: number;
  readonly count: number;
  /** Whether a part of it has been trained before. */
  readonly resumed: boolean;
}

/** What a sweep came to. */
export interface SweepResult {
  /** The best first; those that diverged last. */
  readonly trials: readonly SweepTrial[];
  /** Path of the page on all trials, one over the other; null where none has a run. */
  readonly report: string | null;
}

const RESULT_FILE = "sweep.json";
const REPORT_FILE = "report.html";

/**
 * Trains a model over and over, each time from its checkpoint on with other options, and compares what comes of it on
 * held-out data. Each trial is a run of its own: to the bits of the same run alone, on the same kind of device with
 * units that are cut alike.
 *
 * A sweep that was stopped goes on where it was with the same call; trials that its folder keeps already are read, also
 * where the grid is another one now. A run that diverges ends its trial, and not the sweep. When it resolves, the
 * weights are those of the checkpoint again; where it throws, those of the trial that it was at.
 *
 * Writes `sweep.json` after every trial, and `report.html` at the end.
 *
 * @throws Zo2Error before the first trial: ZO2_ERR_CONFIG naming every option of any trial that is wrong,
 *   ZO2_ERR_JOURNAL where a trial of the folder began with other weights or data; later whatever ends a `fit`
 *   but divergence, ZO2_ERR_ABORTED among it
 */
export async function sweep(model: Model, options: SweepOptions, hooks: SweepHooks = {}): Promise<SweepResult> {
  const { dir, data: _, ...parts } = parseOptions(sweepOptionsSchema, options, "sweep options");
  const { data } = options;
  if (parts.trainer["evaluation"] === undefined) {
    const what = 'option "trainer.evaluation" is missing; give the held-out data by which trials are compared';
    throw new Zo2Error("ZO2_ERR_CONFIG", `sweep options: ${what}`);
  }
  const planned = planTrials({ ...parts, trainer: options.trainer as SweptValues });
  for (const trial of planned) checkOnModel(model, trial);
  const placed = await placeTrials(dir, planned);
  const loaded = loadedOf(model);
  for (const trial of placed) {
    if (!(await exists(join(trial.dir, JOURNAL_FILE)))) continue;
    await checkKept(loaded, trial, data, await readRun(trial.dir, { resuming: true }), hooks.signal);
  }
  const { onTrial, onTrialEnd, ...rest } = hooks;
  const ended: SweepTrial[] = [];
  const end = async (trial: PlacedTrial, reused: boolean) => {
    const result = await trialResult(trial, reused);
    ended.push(result);
    await writeResult(dir, loaded.name, ended);
    onTrialEnd?.(result);
  };
  for (const trial of placed) if (isEnded(trial)) await end(trial, true);
  const left = placed.filter((trial) => !isEnded(trial));
  for (const trial of left) {
    const { name, values, resolved, state } = trial;
    onTrial?.({
      ...{ name, dir: trial.dir, values, steps: resolved.steps, index: placed.indexOf(trial), count: placed.length },
      resumed: state === "begun",
    });
    await end(await runTrial(model, trial, data, rest), false);
  }
  await model.withRuns([], () => undefined);
  const trials = ranked(ended);
  return { trials, report: await report(dir, trials) };
}

const isEnded = ({ state }: PlacedTrial) => state === "done" || state === "diverged";

/** What only the model knows of options. @throws Zo2Error ZO2_ERR_LENGTH, ZO2_ERR_CONFIG */
function checkOnModel(model: Model, { resolved }: PlannedTrial): void {
  checkLength(resolved.maxLength, model.maxPositions);
  matchParameters(model.parameters, resolved.freeze);
}

async function report(dir: string, trials: readonly SweepTrial[]): Promise<string | null> {
  const runs = trials.filter(({ steps }) => steps > 0).map((trial) => trial.dir);
  if (runs.length === 0) return null;
  return (await writeReport(runs, join(dir, REPORT_FILE))).out;
}

async function writeResult(dir: string, model: string, trials: readonly SweepTrial[]): Promise<void> {
  const rows = ranked(trials).map(({ dir: _, options: __, reused: ___, ...row }) => plain(row));
  const text = JSON.stringify({ package: packageVersion(), model, trials: rows }, undefined, 2);
  try {
    await makeFolder(dir);
    await replaceTextFile(join(dir, RESULT_FILE), `${text}\n`);
  } catch (error) {
    throw new Zo2Error("ZO2_ERR_IO", `${dir}: no sweep can be kept there: ${messageOf(error)}`, { cause: error });
  }
}
