import { Zo2Error } from "../base/errors.js";

/** Of a step whose losses, coefficients or updated weights are not finite numbers. */
export class StepError extends Zo2Error {
  constructor(
    readonly step: number,
    what: string,
  ) {
    super("ZO2_ERR_NOT_FINITE", `step ${step}${what}`);
  }
}
