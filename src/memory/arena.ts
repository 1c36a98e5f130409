import { align } from "../base/dtype.js";

/** A piece of an arena. Bytes. */
export interface Region {
  readonly offset: number;
  readonly bytes: number;
}

/** Where regions of an arena begin: what the backends align whole buffers to. */
export const ARENA_ALIGNMENT = 256;

/**
 * Of memory and files between which bytes go without a copy by the kernel: where they begin and end, in both. A page,
 * and at least a block of any disk.
 */
export const DISK_ALIGNMENT = 4096;

/** Hands out the regions of memory that is allocated once, one behind the other. */
export class Arena {
  bytes = 0;

  /** @param alignment where regions begin, and the arena ends. */
  constructor(private readonly alignment = ARENA_ALIGNMENT) {}

  take(bytes: number): Region {
    const region = { offset: this.bytes, bytes };
    this.bytes += align(bytes, this.alignment);
    return region;
  }

  takeEach(count: number, bytes: number): Region[] {
    return Array.from({ length: count }, () => this.take(bytes));
  }
}

/** The part of a region from `offset` on. */
export function within({ offset, bytes }: Region, from: number, length: number = bytes - from): Region {
  return { offset: offset + from, bytes: length };
}
