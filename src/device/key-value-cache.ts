import type { Buffer, Device } from "zo2/native";
import type { RowRange } from "../memory/cache-layout.js";
import type { CacheTier } from "../memory/plan.js";
import { allocate, USE } from "./allocate.js";

/** Memory for the keys and values of a generation, which lives from pass to pass; its layout is `cacheLayout`'s. */
export class KeyValueCache {
  private constructor(
    readonly tier: CacheTier,
    readonly rows: number,
    readonly buffer: Buffer,
  ) {}

  static async create(device: Device, tier: CacheTier, rows: number, bytes: number): Promise<KeyValueCache> {
    return new KeyValueCache(tier, rows, await allocate(device, tier, bytes, USE.cache));
  }

  dispose(): void {
    this.buffer.dispose();
  }
}

/** How one pass uses a cache. */
export interface CacheUse {
  readonly cache: KeyValueCache;
  /** Rows that earlier passes filled and this one reads. */
  readonly used: readonly RowRange[];
  /** Rows that this pass fills. */
  readonly added: readonly RowRange[];
}
