/** The numbers that a page draws, from journals and metrics. */
import { at } from "../base/at.js";
import type { Journal } from "../journal/read.js";
import { lossOf } from "../journal/record.js";
import type { Course, EvaluationLines, Picture, RunPicture } from "./data.js";
import { binsOf, sharesOf } from "./histogram.js";
import { lineOf, MAX_POINTS, rounded } from "./lines.js";
import { markersOf } from "./markers.js";
import type { StepMetrics } from "./metrics.js";
import type { ShownRun } from "./run.js";
import { ratio, smoothed } from "./smoothing.js";

/** @param span over which courses are smoothed, in steps */
export function pictureOf(runs: readonly ShownRun[], span: number): Picture {
  const bins = binsOf(runs.flatMap(({ journal }) => allCoefficients(journal)));
  return {
    bins: bins.map((border) => rounded(border) ?? 0),
    runs: runs.map((run) => runPictureOf(run, bins, span)),
  };
}

function runPictureOf({ name, journal, metrics }: ShownRun, bins: readonly number[], span: number): RunPicture {
  const { steps, header } = journal;
  const losses = lossesOfSteps(journal);
  const { directions } = header.method;
  return {
    name,
    loss: losses.length === 0 ? null : courseOf(losses, smoothed(losses, span)),
    evaluations: evaluationsOf(journal),
    coefficients:
      steps.length === 0
        ? []
        : Array.from({ length: directions }, (_, d) =>
            lineOf(
              steps.map(({ coefficients }) => at(coefficients, d)),
              null,
              Math.ceil(MAX_POINTS / directions),
            ),
          ),
    distribution: sharesOf(allCoefficients(journal), bins).map((share) => rounded(share) ?? 0),
    rate: steps.length === 0 ? null : lineOf(steps.map(({ learningRate }) => learningRate)),
    speed: metrics === null || metrics.length === 0 ? null : speedOf(metrics, span),
    markers: markersOf(journal),
  };
}

/** As `Step.loss`. None in a compact journal. */
export function lossesOfSteps({ steps, compact, header }: Pick<Journal, "steps" | "compact" | "header">): number[] {
  return compact ? [] : steps.map((step) => lossOf(step, header.method.inPlace));
}

export function allCoefficients({ steps }: Pick<Journal, "steps">): number[] {
  return steps.flatMap(({ coefficients }) => coefficients);
}

export function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function courseOf(raw: readonly number[], smooth: readonly number[], steps: readonly number[] | null = null): Course {
  return { raw: lineOf(raw, steps), smooth: lineOf(smooth, steps) };
}

function speedOf(metrics: readonly StepMetrics[], span: number): Course {
  return courseOf(
    metrics.map(({ tokens, seconds }) => tokens / seconds),
    ratio(
      metrics.map(({ tokens, seconds }) => ({ over: tokens, under: seconds })),
      span,
    ),
    metrics.map(({ step }) => step),
  );
}

function evaluationsOf({ evaluations }: Pick<Journal, "evaluations">): EvaluationLines | null {
  if (evaluations.length === 0) return null;
  const steps = evaluations.map(({ step }) => step);
  const best = evaluations.findLastIndex((evaluation) => evaluation.best);
  return {
    loss: lineOf(
      evaluations.map(({ loss }) => loss),
      steps,
      Infinity,
    ),
    accuracy: evaluations.every(({ accuracy }) => accuracy === null)
      ? null
      : lineOf(
          evaluations.map(({ accuracy }) => accuracy ?? NaN),
          steps,
          Infinity,
        ),
    best: best < 0 ? null : best,
  };
}
