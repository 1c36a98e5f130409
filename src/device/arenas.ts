import type { Buffer, Device } from "zo2/native";
import { at } from "../base/at.js";
import { isZo2Error, Zo2Error } from "../base/errors.js";
import type { RestArena } from "../memory/rest.js";
import { allocate, USE } from "./allocate.js";
import { noSpace } from "./disk-space.js";

/**
 * Arenas that are allocated one after another, in the background: host memory takes its time to be locked, and the
 * arenas that are there can be filled meanwhile. One that is not there yet cannot be had, so that nothing is copied
 * from or to it.
 */
export class Arenas {
  private readonly made: Buffer[] = [];
  private readonly making: Promise<Buffer>[];
  private disposed = false;

  constructor(
    private readonly device: Device,
    wanted: readonly RestArena[],
    /** The folder of files; absent where none are wanted. */
    private readonly diskPath?: string | undefined,
  ) {
    let before: Promise<unknown> = Promise.resolve();
    this.making = wanted.map((arena, index) => {
      const making = before.then(() => this.make(index, arena));
      // Whoever waits for the arena is told.
      making.catch(() => undefined);
      before = making;
      return making;
    });
  }

  /** Resolves when the arena is there. Rejects with ZO2_ERR_OUT_OF_MEMORY when it, or one before it, cannot be had. */
  ready(index: number): Promise<Buffer> {
    return at(this.making, index);
  }

  /** Resolves when all are there; rejects as `ready`. */
  async all(): Promise<void> {
    await Promise.all(this.making);
  }

  /**
   * One more, once all others are there.
   * @returns its index @throws Zo2Error ZO2_ERR_OUT_OF_MEMORY; all is as before then
   */
  async add(arena: RestArena): Promise<number> {
    await this.all();
    const index = this.making.length;
    const buffer = await this.make(index, arena);
    this.making.push(Promise.resolve(buffer));
    return index;
  }

  /** One that is there. */
  get(index: number): Buffer {
    const buffer = this.made[index];
    if (buffer === undefined) throw new Error(`arena ${index} of ${this.making.length} is used before it is there`);
    return buffer;
  }

  /** Puts another in the place of one that is there, which is given up. */
  replace(index: number, buffer: Buffer): void {
    const before = this.get(index);
    this.made[index] = buffer;
    before.dispose();
  }

  /** Gives up what is there, and what is being made once it is there. */
  dispose(): void {
    this.disposed = true;
    for (const buffer of this.made) buffer.dispose();
  }

  private async make(index: number, { tier, bytes }: RestArena): Promise<Buffer> {
    this.checkWanted();
    const use = tier === "device" ? USE.resident : USE.host;
    const buffer = tier === "disk" ? await this.makeFile(bytes) : await allocate(this.device, tier, bytes, use);
    if (this.disposed) buffer.dispose();
    this.checkWanted();
    this.made[index] = buffer;
    return buffer;
  }

  /** A file without a name: it goes when the buffer goes, or the process. */
  private async makeFile(bytes: number): Promise<Buffer> {
    const { diskPath } = this;
    if (diskPath === undefined) throw new Error("weights rest on disk, and no folder was given");
    try {
      return await this.device.createFileBuffer(diskPath, bytes);
    } catch (error) {
      if (!isZo2Error(error) || error.code !== "ZO2_ERR_OUT_OF_MEMORY") throw error;
      throw noSpace(diskPath, bytes, error.message);
    }
  }

  private checkWanted(): void {
    if (this.disposed) throw new Zo2Error("ZO2_ERR_DISPOSED", "the model was disposed; load it again");
  }
}
