import { at } from "../base/at.js";
import { Arena, type Region } from "./arena.js";
import type { Residence, Tier } from "./residence.js";
import type { Unit } from "./units.js";

/**
 * Most bytes of one arena in host memory, unless one unit alone has more: a driver may refuse to lock 512 GiB at once,
 * and while one piece is being locked, the one before can be loaded. Device memory is one piece.
 */
export const LARGEST_HOST_ARENA = 64 * 2 ** 30;

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

/** @param largest most bytes of an arena in host memory. */
export function restLayout(
  units: readonly Unit[],
  residences: readonly Pick<Residence, "rest">[],
  largest = LARGEST_HOST_ARENA,
): RestLayout {
  const limits: Readonly<Record<Tier, number>> = { device: Number.POSITIVE_INFINITY, host: largest };
  const open: { tier: Tier; arena: Arena }[] = [];
  const last: Partial<Record<Tier, number>> = {};
  const places = residences.map(({ rest: tier }, u) => {
    const { wireBytes } = at(units, u);
    const current = last[tier];
    const full = current === undefined || at(open, current).arena.bytes + wireBytes > limits[tier];
    // An arena of no bytes exists too: units without tensors rest there.
    const index = full ? open.push({ tier, arena: new Arena() }) - 1 : current;
    last[tier] = index;
    return { rest: tier, arena: index, ...at(open, index).arena.take(wireBytes) };
  });
  const arenas = open.map(({ tier, arena }) => ({ tier, bytes: arena.bytes }));
  const bytesOf = (tier: Tier) => arenas.reduce((sum, arena) => sum + (arena.tier === tier ? arena.bytes : 0), 0);
  return { arenas, units: places, bytes: { device: bytesOf("device"), host: bytesOf("host") } };
}
