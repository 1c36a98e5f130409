import { mezoSgd } from "./mezo.js";

/** Every method, by the name that options give it. */
export const METHODS = { "mezo-sgd": mezoSgd } as const;

export { learningRateAt, type LearningRateSchedule } from "./learning-rate.js";
export type { Method, MethodReport, StepOutcome } from "./method.js";
export { AT_WEIGHTS, type CoefficientRule, coefficientsOf, type Draw, drawsOf, type Probe } from "./probe.js";
export { StepError } from "./step-error.js";
export { type PendingUpdate, UpdateLog } from "./update.js";
