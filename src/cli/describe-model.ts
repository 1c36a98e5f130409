import { SHORTEST } from "../infer/plan-ahead.js";
import { withinBudget } from "../memory/budget.js";
import type { PlanSummary } from "../model.js";
import { residenceText } from "../report/residence.js";
import { formatBytes, formatCount } from "../report/units.js";
import type { ModelView } from "./api.js";

/** What a command is going to do with a model, as far as it is known before its data is read. */
export interface Purpose {
  readonly training: boolean;
  /** Tokens of the longest sequence, where a flag says it. */
  readonly maxLength?: number | undefined;
}

/**
 * One line on a model that has been loaded: what it is, and how it will run. Device memory is that of one sequence of
 * the length that was asked for; where none was, or where data may be shorter because that one does not fit, what any
 * pass takes at least.
 * @throws Zo2Error ZO2_ERR_MEMORY_BUDGET where the command could not run whatever its data
 */
export function modelLine(model: ModelView, { training, maxLength }: Purpose): string {
  const device = model.deviceInfo();
  const whole =
    maxLength === undefined
      ? null
      : withinBudget(() => model.plan(Math.min(maxLength, model.maxPositions), { training }));
  const plan = whole ?? model.plan(SHORTEST, { training });
  const least = whole === null ? "at least " : "";
  return (
    `${model.dir}: ${formatCount(model.parameterCount)} parameters, ${residenceText(plan)}; ${device.kind}, ` +
    `${device.threads} threads, device ${least}${formatBytes(plan.deviceBytes)}, host ` +
    `${formatBytes(plan.hostBytes)}${diskOf(plan)}${inPlaceOf(plan)}`
  );
}

/** What a plan takes of a disk, behind the rest; empty where that is nothing. */
export function diskOf({ diskBytes }: Pick<PlanSummary, "diskBytes">): string {
  return diskBytes === 0 ? "" : `, disk ${formatBytes(diskBytes)}`;
}

/** What of that is not taken before weights change, behind it; empty where that is nothing. */
export function inPlaceOf({ inPlaceBytes }: Pick<PlanSummary, "inPlaceBytes">): string {
  return inPlaceBytes === 0
    ? ""
    : ` once weights are trained; ${formatBytes(inPlaceBytes)} of them are read from the checkpoint's own files`;
}
