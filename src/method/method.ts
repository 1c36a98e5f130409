import type { CoefficientRule } from "./coefficients.js";
import type { Probe } from "./probe.js";

/** What a step came to. */
export interface StepOutcome {
  /** By probe: what the loss is a mean of is that of the whole batch. */
  readonly losses: readonly number[];
  /** By direction, as fp32 has them. */
  readonly coefficients: readonly number[];
}

/** A step as data: where the loss is evaluated, and what the losses become. */
export interface MethodStep {
  readonly probes: readonly Probe[];
  readonly rule: CoefficientRule;
}

/**
 * A zeroth-order method: what its options make of a step. Backends and schedule know probes and coefficients, never a
 * method.
 */
export interface Method<Options> {
  readonly name: string;
  step(options: Options): MethodStep;
}

/** What a step says of itself. */
export interface MethodReport {
  /** The loss at the weights where a probe stands there, else the mean of all probes' losses. */
  readonly loss: number;
  /** Mean of the losses to the plus side, and to the minus side; NaN where no probe stands there. */
  readonly lossPlus: number;
  readonly lossMinus: number;
  /** The coefficient of the one direction; of several, the root of their mean square. */
  readonly projectedGradient: number;
  /** One for each direction. */
  readonly coefficients: readonly number[];
  /** Whether the directions' losses were equal, so that a method that is normalised by their deviation took none. */
  readonly skipped: boolean;
}

export function reportOf({ probes, rule }: MethodStep, { losses, coefficients }: StepOutcome): MethodReport {
  const side = (sign: Probe["sign"]) => losses.filter((_, p) => probes[p]?.sign === sign);
  const inPlace = side(0);
  const [only = Number.NaN] = coefficients;
  return {
    loss: meanOf(inPlace.length > 0 ? inPlace : losses),
    lossPlus: meanOf(side(1)),
    lossMinus: meanOf(side(-1)),
    projectedGradient: coefficients.length === 1 ? only : rootMeanSquare(coefficients),
    coefficients,
    skipped: rule.normalised && coefficients.every((coefficient) => coefficient === 0),
  };
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

export function rootMeanSquare(values: readonly number[]): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
}
