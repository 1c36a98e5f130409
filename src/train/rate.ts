/** A learning rate that was left to be chosen, in the options of a run. */
import type { Warning } from "../base/warnings.js";
import { methodSchema } from "../config/methods/index.js";
import type { ResolvedTrainerOptions } from "../config/trainer.js";
import type { Journal } from "../journal/read.js";
import type { RateChoice } from "./rate-rule.js";

export function withRate(options: ResolvedTrainerOptions, learningRate: number): ResolvedTrainerOptions {
  return Object.freeze({ ...options, method: Object.freeze({ ...options.method, learningRate }) });
}

/** Where the rate is still to be chosen, that of a run, which has been. */
export function withRateOf(
  options: ResolvedTrainerOptions,
  { header }: Pick<Journal, "header">,
): ResolvedTrainerOptions {
  if (options.method.learningRate !== "auto") return options;
  const { data: then } = methodSchema.safeParse(header.training["method"]);
  return typeof then?.learningRate === "number" ? withRate(options, then.learningRate) : options;
}

/** The rate of a run whose first step is to come, or was taken. */
export function rateOf({ method: { learningRate } }: ResolvedTrainerOptions): number {
  if (learningRate === "auto") throw new Error("a step before its learning rate was chosen");
  return learningRate;
}

/** That a choice rests on curvatures which differ. */
export function doubtfulRate({ learningRate, curvature: { near, far } }: RateChoice): Warning {
  const why =
    near > far
      ? "eps is lost in the rounding of weights or losses: raise it, or use fp32 as dtype and wire"
      : "the loss is no parabola over such distances: lower eps";
  return {
    code: "ZO2_WARN_LEARNING_RATE",
    message:
      `the learning rate ${learningRate} was chosen by curvatures that differ: ${near.toPrecision(3)} over eps and ` +
      `${far.toPrecision(3)} over twice that; ${why}`,
  };
}
