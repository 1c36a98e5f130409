/** The few figures that a run comes to. */
import type { Journal } from "../journal/read.js";
import type { EvaluationRecord } from "../journal/record.js";
import { lossesOfSteps } from "./picture.js";
import type { ShownRun } from "./run.js";
import { smoothed } from "./smoothing.js";

export interface Summary {
  readonly steps: number;
  /** Mean of the first steps, as many as the span; null where there are no losses. */
  readonly firstLoss: number | null;
  /** Where the smoothed course ends. */
  readonly lastLoss: number | null;
  readonly best: EvaluationRecord | null;
  readonly evaluations: number;
  /** All tokens over all seconds of the steps; null where there are no metrics. */
  readonly tokensPerSecond: number | null;
  readonly tokens: number | null;
  readonly seconds: number | null;
  readonly deviceBytes: number | null;
}

export function summaryOf({ journal, metrics }: ShownRun, span: number): Summary {
  const losses = lossesOfSteps(journal);
  const first = losses.slice(0, span).filter(Number.isFinite);
  const tokens = sumOf((metrics ?? []).map((m) => m.tokens));
  const seconds = sumOf((metrics ?? []).map((m) => m.seconds));
  return {
    steps: journal.steps.length,
    firstLoss: first.length === 0 ? null : sumOf(first) / first.length,
    lastLoss: smoothed(losses, span).at(-1) ?? null,
    best: journal.evaluations.findLast((evaluation) => evaluation.best) ?? null,
    evaluations: journal.evaluations.length,
    ...(seconds > 0
      ? { tokensPerSecond: tokens / seconds, tokens, seconds }
      : { tokensPerSecond: null, tokens: null, seconds: null }),
    deviceBytes: plannedBytes(journal),
  };
}

function plannedBytes({ sessions }: Pick<Journal, "sessions">): number | null {
  return sessions.findLast(({ plan }) => plan !== undefined)?.plan?.deviceBytes ?? null;
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

/** Mean and spread of the coefficients. */
export interface Spread {
  readonly count: number;
  readonly mean: number;
  /** Standard deviation. */
  readonly deviation: number;
}

export function spreadOf(values: readonly number[]): Spread | null {
  const finite = values.filter(Number.isFinite);
  if (finite.length === 0) return null;
  const mean = sumOf(finite) / finite.length;
  return {
    ...{ count: finite.length, mean },
    deviation: Math.sqrt(sumOf(finite.map((value) => (value - mean) ** 2)) / finite.length),
  };
}
