/** What a plan may take, what of it is decided already, and what is said where nothing fits. */
import { formatBytes } from "../base/bytes.js";
import { Zo2Error } from "../base/errors.js";
import { activationTiers, deviceBytes, diskBytes, hostBytes, type Plan } from "../memory/plan.js";
import type { ActivationTier, Tier } from "../memory/residence.js";

/** Memory that may be in use, in bytes; absent: no limit. */
export interface Budgets {
  readonly deviceMemory?: number | undefined;
  readonly hostMemory?: number | undefined;
  /** Of both together, where the device's memory is the host's. */
  readonly totalMemory?: number | undefined;
  /** Of a file that weights may rest in; absent: there is none. */
  readonly diskMemory?: number | undefined;
}

/** What the caller has decided already; absent: to be chosen. */
export interface Pinned {
  readonly unitBytes?: number | undefined;
  readonly slots?: number | undefined;
  readonly prepareAhead?: boolean | undefined;
  readonly activations?: ActivationTier | undefined;
  /** Where each unit rests. */
  readonly tierOf?: ((unit: number) => Tier) | undefined;
  /** Units that rest on disk, and stay there; no other does then. */
  readonly onDisk?: ReadonlySet<number> | undefined;
}

/** What was looked at, whether it fits or not. */
export class Met {
  /** The one of the least device memory. */
  device: Plan | null = null;
  /** Of those that fit in the device, the one of the least host memory. */
  host: Plan | null = null;

  add(plan: Plan, budgets: Budgets): void {
    if (this.device === null || deviceBytes(plan) < deviceBytes(this.device)) this.device = plan;
    if (!within(plan, { deviceMemory: budgets.deviceMemory })) return;
    if (this.host === null || hostTaken(plan, budgets) < hostTaken(this.host, budgets)) this.host = plan;
  }
}

export function within(plan: Plan, budgets: Budgets): boolean {
  const { deviceMemory, hostMemory, totalMemory, diskMemory } = budgets;
  const most = (bytes: number | undefined) => bytes ?? Number.POSITIVE_INFINITY;
  return (
    deviceBytes(plan) <= most(deviceMemory) &&
    hostBytes(plan) <= most(hostMemory) &&
    deviceBytes(plan) + hostBytes(plan) <= most(totalMemory) &&
    diskBytes(plan) <= most(diskMemory)
  );
}

/** Of what `hostMemory`, or `totalMemory`, allows. */
function hostTaken(plan: Plan, { totalMemory }: Budgets): number {
  return hostBytes(plan) + (totalMemory === undefined ? 0 : deviceBytes(plan));
}

export function nothingFits({ device, host }: Met, budgets: Budgets & { readonly pinned: Pinned }): Zo2Error {
  const { deviceMemory, hostMemory, totalMemory, diskMemory, pinned } = budgets;
  const lacking: Tier = host === null ? "device" : "host";
  const beside = totalMemory === undefined ? "beside that of the device" : "in all";
  const [needed, allowed, raised] =
    host === null
      ? [`${device === null ? "?" : formatBytes(deviceBytes(device))} of device memory`, deviceMemory, "deviceMemory"]
      : [`${formatBytes(hostTaken(host, budgets))} of host memory ${beside}`, totalMemory ?? hostMemory, "hostMemory"];
  const advice = [
    ...(pinned.unitBytes === undefined ? [] : ['lower option "offload.unitBytes", or leave it to be chosen']),
    ...(pinned.tierOf?.(0) !== lacking ? [] : [`leave out option "offload.to" = "${lacking}"`]),
    ...(host === null &&
    pinned.activations === "device" &&
    device !== null &&
    activationTiers(device.options).length > 1
      ? ['set option "offload.activations" = "host"']
      : []),
    ...(host !== null && pinned.activations === "host" ? ['leave out option "offload.activations" = "host"'] : []),
    ...(host === null ? ['lower options "batchSize", "microBatchSize" or "maxLength"'] : []),
    'choose a narrower dtype as option "offload.wire"',
    ...(host === null || deviceMemory === undefined ? [] : ['raise option "offload.deviceMemory"']),
    ...(host !== null
      ? [
          diskMemory === undefined
            ? 'name a folder on a disk as option "offload.diskPath"'
            : 'raise option "offload.diskMemory"',
        ]
      : []),
  ];
  return new Zo2Error(
    "ZO2_ERR_MEMORY_BUDGET",
    `the least that a plan needs is ${needed}, and ${formatBytes(allowed ?? 0)} is allowed; ${advice.join(", ")}, or ` +
      `raise option "offload.${raised}"`,
  );
}
