import { es } from "./es.js";
import { fzoo } from "./fzoo.js";
import { lozo } from "./lozo.js";
import type { Method, MethodStep } from "./method.js";
import { mezoSgd } from "./mezo.js";

/** Every method, by the name that options give it. */
export const METHODS = { "mezo-sgd": mezoSgd, fzoo, es, lozo } as const;

type Methods = typeof METHODS;

/** What a step is made from, told apart by the method's name. */
export type MethodOptions = {
  [Name in keyof Methods]: { readonly name: Name } & Parameters<Methods[Name]["step"]>[0];
}[keyof Methods];

/** The step that the options of a method describe. */
export function stepOf(options: MethodOptions): MethodStep {
  // The name decides which options stand beside it.
  const method: Method<never> = METHODS[options.name];
  return method.step(options as never);
}

export { type CoefficientRule, coefficientsOf, type Shaping } from "./coefficients.js";
export { learningRateAt, type LearningRateSchedule } from "./learning-rate.js";
export {
  type Method,
  type MethodReport,
  type MethodStep,
  reportOf,
  rootMeanSquare,
  type StepOutcome,
} from "./method.js";
export { type DrawnNoise, type LowRankNoise, noiseText, varianceOf } from "./noise.js";
export { AT_WEIGHTS, directionsOf, type Draw, drawsOf, type Probe } from "./probe.js";
export { StepError } from "./step-error.js";
export { type PendingUpdate, UpdateLog } from "./update.js";
