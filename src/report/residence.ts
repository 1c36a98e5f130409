import type { Tier } from "../memory/residence.js";
import { formatBytes } from "./units.js";

/** Of a plan's summary. */
export interface Held {
  readonly units: readonly { readonly tier: Tier; readonly bytes: number }[];
  readonly slots: number;
  readonly activations: { readonly tier: Tier; readonly bytes: number };
  readonly deviceMemory: number | null;
}

/** How the weights are held, and why; and the activations between units where they are not on the device. */
export function residenceText(held: Held): string {
  return weightsText(held) + activationsText(held);
}

/** Behind how the weights are held; empty where activations are on the device. */
export function activationsText({ activations: { tier, bytes } }: Pick<Held, "activations">): string {
  return tier === "device" ? "" : `, activations in ${tier} memory (${formatBytes(bytes)})`;
}

function weightsText({ units, slots, deviceMemory }: Held): string {
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
