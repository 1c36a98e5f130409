import { at } from "../base/at.js";
import { Arena, ARENA_ALIGNMENT, DISK_ALIGNMENT, type Region } from "./arena.js";
import type { Residence, Tier } from "./residence.js";
import type { Unit } from "./units.js";

/** Memory of one tier that is allocated at once. */
export interface RestArena {
  readonly tier: Tier;
  readonly bytes: number;
}

/**
 * Where the wire bytes of every unit rest: a place in an arena of its tier. No unit lies across two. One in a file
 * begins at a multiple of `DISK_ALIGNMENT`, and nothing else lies in the last of its blocks.
 */
export interface RestLayout {
  readonly arenas: readonly RestArena[];
  /** `arena`: which of them. */
  readonly units: readonly (Region & { readonly rest: Tier; readonly arena: number })[];
  /** Of all arenas of each tier. */
  readonly bytes: Readonly<Record<Tier, number>>;
}

/**
 * A unit in memory has an arena of its own, so that it can come to rest elsewhere while the others stay; while one is
 * being locked, those before it can be loaded. What rests on disk is one file: its blocks are had at once or not at
 * all.
 */
export function restLayout(units: readonly Unit[], residences: readonly Pick<Residence, "rest">[]): RestLayout {
  const open: { readonly tier: Tier; readonly arena: Arena }[] = [];
  const places = residences.map(({ rest: tier }, u) => {
    const file = tier === "disk" ? open.findIndex((other) => other.tier === "disk") : -1;
    const index = file === -1 ? open.push({ tier, arena: new Arena(alignmentOf(tier)) }) - 1 : file;
    return { rest: tier, arena: index, ...at(open, index).arena.take(at(units, u).wireBytes) };
  });
  const arenas = open.map(({ tier, arena }) => ({ tier, bytes: arena.bytes }));
  const bytesOf = (tier: Tier) => arenas.reduce((sum, arena) => sum + (arena.tier === tier ? arena.bytes : 0), 0);
  return { arenas, units: places, bytes: { device: bytesOf("device"), host: bytesOf("host"), disk: bytesOf("disk") } };
}

function alignmentOf(tier: Tier): number {
  return tier === "disk" ? DISK_ALIGNMENT : ARENA_ALIGNMENT;
}
