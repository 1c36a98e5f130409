import { formatBytes, formatCount } from "../report/units.js";
import type { ModelView } from "./api.js";

/** One line on a model that has been loaded: what it is, and how it will run. */
export function modelLine(model: ModelView): string {
  const { offload } = model.options;
  const device = model.deviceInfo();
  const where = offload.to === "host" ? "streamed from host memory" : "resident on the device";
  const plan = model.plan();
  return (
    `${model.dir}: ${formatCount(model.parameterCount)} parameters, ${where}; ${device.kind}, ${device.threads} ` +
    `threads, device ${formatBytes(plan.deviceBytes)}, host ${formatBytes(plan.hostBytes)}`
  );
}
