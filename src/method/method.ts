import type { CoefficientRule, Probe } from "./probe.js";

/** What a step came to. */
export interface StepOutcome {
  /** By probe: what the loss is a mean of is that of the whole batch. */
  readonly losses: readonly number[];
  /** By direction, as fp32 has them. */
  readonly coefficients: readonly number[];
}

/** What a step says of itself: see `Step` in `train/trainer.ts`. */
export interface MethodReport {
  /** Mean of the losses. */
  readonly loss: number;
  readonly lossPlus: number;
  readonly lossMinus: number;
  readonly projectedGradient: number;
}

/**
 * A zeroth-order method, as data: the probes of a step, and the rule from their losses to one coefficient for each
 * direction. Backends and schedule know probes and coefficients, never a method.
 */
export interface Method<Options> {
  readonly name: string;
  step(options: Options): { readonly probes: readonly Probe[]; readonly rule: CoefficientRule };
  /** What an objective of the caller is told of each probe. */
  readonly sides: readonly ("plus" | "minus")[];
  report(outcome: StepOutcome): MethodReport;
}
