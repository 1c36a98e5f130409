/** What the trials of a sweep came to, the best first. */
import { join } from "node:path";
import { exists } from "../base/files.js";
import type { SweptValues } from "../config/sweep.js";
import type { ResolvedTrainerOptions } from "../config/trainer.js";
import { JOURNAL_FILE, readRun } from "../journal/read-run.js";
import { bestOf } from "../run/run.js";
import type { BestEvaluation } from "../train/trainer.js";
import type { PlacedTrial } from "./folder.js";

/** What one trial came to. */
export interface SweepTrial {
  /** Of its folder, in that of the sweep. */
  readonly name: string;
  /** Its run: what `Trainer.resume`, `model.withRuns` and `writeReport` take. */
  readonly dir: string;
  /** Its own values, by name. */
  readonly values: SweptValues;
  readonly options: ResolvedTrainerOptions;
  /** `"diverged"`: a guard has ended it before its last step. */
  readonly state: "done" | "diverged";
  /** Why it has diverged. */
  readonly message?: string;
  /** Steps that it has taken. */
  readonly steps: number;
  /** Of training, in all processes that have trained it. */
  readonly seconds: number;
  /** Whether it was there already, and nothing of it was trained this time. */
  readonly reused: boolean;
  /**
   * The evaluation that it is compared by: its best, or with `keepBest: false` its last; null where it diverged before
   * the first.
   */
  readonly evaluation: BestEvaluation | null;
}

/** Reads what a trial that has ended came to. @throws Zo2Error ZO2_ERR_IO, ZO2_ERR_JOURNAL */
export async function trialResult(trial: PlacedTrial, reused: boolean): Promise<SweepTrial> {
  const { name, dir, values, resolved, state, seconds, message } = trial;
  // One may diverge before it has a run: in its first evaluation of the weights.
  const journal = (await exists(join(dir, JOURNAL_FILE))) ? await readRun(dir) : null;
  const last = resolved.evaluation?.keepBest === false ? journal?.evaluations.at(-1) : undefined;
  const evaluation = journal === null ? null : (last ?? bestOf(journal));
  return {
    ...{ name, dir, values, options: resolved, state: state === "diverged" ? state : "done" },
    ...(message === undefined ? {} : { message }),
    ...{ steps: journal?.steps.length ?? 0, seconds, reused },
    evaluation:
      evaluation === null ? null : { step: evaluation.step, loss: evaluation.loss, accuracy: evaluation.accuracy },
  };
}

/**
 * The best first: by accuracy where there is one, ties and the rest by loss; those that diverged last. Equal ones stay
 * as they were.
 */
export function ranked(trials: readonly SweepTrial[]): readonly SweepTrial[] {
  return [...trials].sort((a, b) => {
    if (a.state !== b.state) return a.state === "done" ? -1 : 1;
    const [left, right] = [a.evaluation, b.evaluation];
    if (left === null || right === null) return Number(left === null) - Number(right === null);
    return compare(accuracyOf(right), accuracyOf(left)) || compare(lossOf(left), lossOf(right));
  });
}

const accuracyOf = ({ accuracy, loss }: BestEvaluation) => (Number.isFinite(loss) ? (accuracy ?? 0) : -1);
const lossOf = ({ loss }: BestEvaluation) => (Number.isFinite(loss) ? loss : Infinity);
const compare = (a: number, b: number) => (a < b ? -1 : Number(a > b));
