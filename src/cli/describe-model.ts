import { isZo2Error } from "../base/errors.js";
import type { Tier } from "../memory/residence.js";
import type { PlanSummary } from "../model.js";
import { formatBytes, formatCount } from "../report/units.js";
import type { ModelView } from "./api.js";

/** What a command is going to do with a model, as far as it is known before its data is read. */
export interface Purpose {
  readonly training: boolean;
  /** Tokens of the longest sequence, where a flag says it. */
  readonly maxLength?: number | undefined;
}

/** Every pass takes at least as much as one over two tokens. */
const SHORTEST = 2;

/**
 * One line on a model that has been loaded: what it is, and how it will run. Device memory is that of one sequence of
 * the length that was asked for; where none was, or where data may be shorter because that one does not fit, what any
 * pass takes at least.
 * @throws Zo2Error ZO2_ERR_MEMORY_BUDGET where the command could not run whatever its data
 */
export function modelLine(model: ModelView, { training, maxLength }: Purpose): string {
  const device = model.deviceInfo();
  const whole =
    maxLength === undefined ? undefined : planWithin(model, Math.min(maxLength, model.maxPositions), training);
  const plan = whole ?? model.plan(SHORTEST, { training });
  const least = whole === undefined ? "at least " : "";
  return (
    `${model.dir}: ${formatCount(model.parameterCount)} parameters, ${residenceText(plan)}; ${device.kind}, ` +
    `${device.threads} threads, device ${least}${formatBytes(plan.deviceBytes)}, host ` +
    `${formatBytes(plan.hostBytes)}${diskOf(plan)}`
  );
}

/** How the weights are held, and why. */
export function residenceText({ units, slots, deviceMemory }: PlanSummary): string {
  const on = (tier: Tier) => units.filter((unit) => unit.tier === tier).length;
  if (on("device") === units.length) return "resident on the device";
  const largest = Math.max(0, ...units.map(({ tier, bytes }) => (tier === "device" ? 0 : bytes)));
  const places = [
    ...(on("host") > 0 ? ["host memory"] : []),
    ...(on("disk") > 0 ? [on("host") > 0 ? `disk (${on("disk")} units)` : "disk"] : []),
  ].join(" and ");
  const how = `streamed from ${places} in units of up to ${formatBytes(largest)} through ${slots} slots`;
  if (on("device") === 0) return how;
  const room = deviceMemory === null ? "" : `, as ${formatBytes(deviceMemory)} of the device have room for`;
  return `${on("device")} of ${units.length} units resident${room}, the others ${how}`;
}

/** What a plan takes of a disk, behind the rest; empty where that is nothing. */
export function diskOf({ diskBytes }: Pick<PlanSummary, "diskBytes">): string {
  return diskBytes === 0 ? "" : `, disk ${formatBytes(diskBytes)}`;
}

function planWithin(model: ModelView, length: number, training: boolean): PlanSummary | undefined {
  try {
    return model.plan(length, { training });
  } catch (error) {
    if (isZo2Error(error) && error.code === "ZO2_ERR_MEMORY_BUDGET") return undefined;
    throw error;
  }
}
