import { at } from "../base/at.js";
import { SEAL_BYTES } from "../contract/constants.js";
import { Arena, ARENA_ALIGNMENT, DISK_ALIGNMENT, type Region } from "./arena.js";
import type { Residence, Tier } from "./residence.js";
import type { Unit } from "./units.js";

/** Memory of one tier that is allocated at once. */
export interface RestArena {
  readonly tier: Tier;
  readonly bytes: number;
}

/** Of a unit's bytes, or of those that its files do not have, in an arena. */
export type RestPlace = Region & { readonly arena: number };

/**
 * Where the wire bytes of every unit rest: a place in an arena of its tier. No unit lies across two. One in a file
 * begins at a multiple of `DISK_ALIGNMENT`, and nothing else lies in the last of its blocks. A file begins with
 * `FILE_HEAD_BYTES` that say whose it is, and every unit has room for its seal.
 */
export interface RestLayout {
  readonly arenas: readonly RestArena[];
  /**
   * `arena`: which of them; null of a unit that rests in the files of its checkpoint. Its `aside` is what these do not
   * have, in host memory. Once it is written it has a place in a file that comes to the arenas then.
   */
  readonly units: readonly (Region & UnitRest)[];
  /** Of all arenas of each tier, and of those that units will need which are to be written. */
  readonly bytes: Readonly<Record<Tier, number>>;
}

/** What a file says of itself, in front of all units. */
export const FILE_HEAD_BYTES = DISK_ALIGNMENT;

interface UnitRest {
  readonly rest: Tier;
  readonly arena: number | null;
  /** Where in the file the unit's seal is; null where it rests in memory, or in its checkpoint's files. */
  readonly seal: number | null;
  readonly aside: RestPlace | null;
}

/** A scratch file, with room for its head. */
export function scratchFile(): Arena {
  const file = new Arena(DISK_ALIGNMENT);
  file.take(FILE_HEAD_BYTES);
  return file;
}

/** Room for a unit's wire bytes and its seal in a scratch file. */
export function takeSealed(file: Arena, bytes: number): Region & { readonly seal: number } {
  return { seal: file.take(SEAL_BYTES).offset, ...file.take(bytes) };
}

/**
 * A unit in memory has an arena of its own, so that it can come to rest elsewhere while the others stay; while one is
 * being locked, those before it can be loaded. What rests in a scratch file from the beginning on is one file: its
 * blocks are had at once or not at all.
 */
export function restLayout(
  units: readonly Unit[],
  residences: readonly Pick<Residence, "rest" | "scratch">[],
): RestLayout {
  const open: { readonly tier: Tier; readonly arena: Arena }[] = [];
  const aside = new Arena();
  const placed = residences.map(({ rest }, u) => {
    const { wireBytes: bytes, inFiles, asideBytes } = at(units, u);
    if (rest === "disk" && inFiles) {
      const own = asideBytes === 0 ? null : aside.take(asideBytes);
      return { rest, arena: null, seal: null, offset: 0, bytes, aside: own };
    }
    const file = rest === "disk" ? open.findIndex(({ tier }) => tier === "disk") : -1;
    const arena = file === -1 ? open.push({ tier: rest, arena: arenaOf(rest) }) - 1 : file;
    const own = at(open, arena).arena;
    return {
      rest,
      arena,
      ...(rest === "disk" ? takeSealed(own, bytes) : { seal: null, ...own.take(bytes) }),
      aside: null,
    };
  });
  if (aside.bytes > 0) open.push({ tier: "host", arena: aside });
  const arenas = open.map(({ tier, arena }) => ({ tier, bytes: arena.bytes }));
  const bytesOf = (tier: Tier) => arenas.reduce((sum, arena) => sum + (arena.tier === tier ? arena.bytes : 0), 0);
  const toCome = placed.filter(({ arena }, u) => arena === null && at(residences, u).scratch);
  const later = scratchFile();
  for (const { bytes } of toCome) takeSealed(later, bytes);
  const scratch = toCome.length === 0 ? 0 : later.bytes;
  return {
    arenas,
    units: placed.map((unit) => ({
      ...unit,
      aside: unit.aside === null ? null : { arena: arenas.length - 1, ...unit.aside },
    })),
    bytes: { device: bytesOf("device"), host: bytesOf("host"), disk: bytesOf("disk") + scratch },
  };
}

function arenaOf(tier: Tier): Arena {
  return tier === "disk" ? scratchFile() : new Arena(ARENA_ALIGNMENT);
}
