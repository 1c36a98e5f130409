import { at } from "../base/at.js";
import { align } from "../base/dtype.js";
import { ARENA_ALIGNMENT, type Region } from "./arena.js";
import type { Residence, Tier } from "./residence.js";
import type { Unit } from "./units.js";

/** Memory of one tier that is allocated at once. */
export interface RestArena {
  readonly tier: Tier;
  readonly bytes: number;
}

/** Where the wire bytes of every unit rest: a place in an arena of its tier. No unit lies across two. */
export interface RestLayout {
  readonly arenas: readonly RestArena[];
  /** `arena`: which of them. */
  readonly units: readonly (Region & { readonly rest: Tier; readonly arena: number })[];
  /** Of all arenas of each tier. */
  readonly bytes: Readonly<Record<Tier, number>>;
}

/**
 * Every unit has an arena of its own, so that one can come to rest elsewhere while the others stay; while one is being
 * locked, those before it can be loaded.
 */
export function restLayout(units: readonly Unit[], residences: readonly Pick<Residence, "rest">[]): RestLayout {
  const places = residences.map(({ rest }, u) => {
    const { wireBytes } = at(units, u);
    return { rest, arena: u, offset: 0, bytes: wireBytes };
  });
  const arenas = places.map(({ rest, bytes }) => ({ tier: rest, bytes: align(bytes, ARENA_ALIGNMENT) }));
  const bytesOf = (tier: Tier) => arenas.reduce((sum, arena) => sum + (arena.tier === tier ? arena.bytes : 0), 0);
  return { arenas, units: places, bytes: { device: bytesOf("device"), host: bytesOf("host") } };
}
