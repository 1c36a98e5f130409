/** The lines of a run's metrics file. */
import type { Step, TrainingEvaluation } from "./trainer.js";

type Line = Readonly<Record<string, unknown>>;

export function stepMetrics(step: Step): Line {
  const { index, loss, lossPlus, lossMinus, projectedGradient, coefficients, skipped, learningRate } = step;
  const { examples, tokens, seconds, tokensPerSecond, deviceBytes } = step;
  return {
    ...{ step: index, loss, lossPlus, lossMinus, projectedGradient, coefficients, skipped, learningRate },
    ...{ examples, tokens, seconds, tokensPerSecond, deviceBytes },
  };
}

export function evaluationMetrics({ step, loss, accuracy, best }: TrainingEvaluation): Line {
  return { stepsTaken: step, evaluation: { loss, accuracy, best } };
}

/** Of the lines that are there, those that a run which goes on behind `taken` steps keeps. */
export function metricsUntil(taken: number): (line: Line) => boolean {
  return ({ step, stepsTaken }) =>
    typeof step === "number" ? step < taken : typeof stepsTaken === "number" && stepsTaken <= taken;
}
