import { at } from "../base/at.js";
import { align } from "../base/dtype.js";
import { DISK_ALIGNMENT } from "./arena.js";
import type { Residence } from "./residence.js";
import type { Unit } from "./units.js";

/** Of each direction: one unit is read while the one before is uploaded, or written while the next is offloaded. */
const SLOTS_EACH_WAY = 2;

/** Which host slots a unit on disk passes through. `write`: null where nothing in it changes. */
export interface Staging {
  readonly read: number;
  readonly write: number | null;
}

/** Pinned memory between file and device. */
export interface HostSlots {
  readonly count: number;
  /** Of each: whole blocks, which hold the largest unit on disk. */
  readonly bytes: number;
  /** By unit; null for one that does not rest on disk. */
  readonly of: readonly (Staging | null)[];
}

/**
 * Units on disk take turns, in the order of their visits. What is read and what is written have slots of their own: a
 * read that waited for a write would wait for the whole visit between them.
 */
export function hostSlotsOf(units: readonly Unit[], residences: readonly Residence[]): HostSlots {
  const onDisk = units.filter(({ index }) => at(residences, index).rest === "disk");
  const changing = onDisk.filter(({ index }) => at(residences, index).changes);
  const reads = Math.min(SLOTS_EACH_WAY, onDisk.length);
  const writes = Math.min(SLOTS_EACH_WAY, changing.length);
  let read = 0;
  let written = 0;
  return {
    count: reads + writes,
    bytes: align(Math.max(0, ...onDisk.map(({ wireBytes }) => wireBytes)), DISK_ALIGNMENT),
    of: units.map(({ index }): Staging | null => {
      const { rest, changes } = at(residences, index);
      if (rest !== "disk") return null;
      return { read: read++ % reads, write: changes ? reads + (written++ % writes) : null };
    }),
  };
}
