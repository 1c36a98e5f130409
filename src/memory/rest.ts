import { at } from "../base/at.js";
import { Arena, type Region } from "./arena.js";
import type { Residence, Tier } from "./residence.js";
import type { Unit } from "./units.js";

/** Where the wire bytes of every unit rest: a place in the arena of its tier. */
export interface RestLayout {
  readonly units: readonly (Region & { readonly rest: Tier })[];
  /** Bytes of each tier's arena. */
  readonly bytes: Readonly<Record<Tier, number>>;
}

export function restLayout(units: readonly Unit[], residences: readonly Pick<Residence, "rest">[]): RestLayout {
  const arenas = { device: new Arena(), host: new Arena() };
  const places = residences.map(({ rest }, u) => ({ rest, ...arenas[rest].take(at(units, u).wireBytes) }));
  return { units: places, bytes: { device: arenas.device.bytes, host: arenas.host.bytes } };
}
