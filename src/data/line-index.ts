/** Lines of an open file, by index. */
import type { FileHandle } from "node:fs/promises";
import { at } from "../base/at.js";
import { Zo2Error } from "../base/errors.js";
import { messageOf } from "../base/guards.js";

/** Where each line is: 16 bytes per line, in arrays that double. */
export class LineIndex {
  size = 0;
  private offsets = new Float64Array(1024);
  private lengths = new Uint32Array(1024);
  private numbers = new Uint32Array(1024);

  /** @param number what the line is called: its own number, or that of the record it stands for. */
  add(offset: number, length: number, number: number): void {
    if (this.size === this.offsets.length) {
      this.offsets = grown(this.offsets, new Float64Array(this.size * 2));
      this.lengths = grown(this.lengths, new Uint32Array(this.size * 2));
      this.numbers = grown(this.numbers, new Uint32Array(this.size * 2));
    }
    this.offsets[this.size] = offset;
    this.lengths[this.size] = length;
    this.numbers[this.size] = number;
    this.size++;
  }

  number(index: number): number {
    return at(this.numbers, index);
  }

  /** The bytes of line `index` of `file`. @throws Zo2Error ZO2_ERR_IO beginning with `place` */
  async read(index: number, file: FileHandle, place: string): Promise<Uint8Array> {
    const bytes = new Uint8Array(at(this.lengths, index));
    const offset = at(this.offsets, index);
    for (let done = 0; done < bytes.byteLength; ) {
      const bytesRead = await readAt(file, place, bytes, done, offset + done);
      if (bytesRead === 0)
        throw new Zo2Error("ZO2_ERR_IO", `${place}: the file has become shorter since it was opened`);
      done += bytesRead;
    }
    return bytes;
  }
}

function grown<T extends Float64Array | Uint32Array>(from: T, to: T): T {
  to.set(from);
  return to;
}

/** Bytes from `position` of the file into `into` behind `from`: how many came. @throws Zo2Error ZO2_ERR_IO */
export async function readAt(
  file: FileHandle,
  name: string,
  into: Uint8Array,
  from: number,
  position: number,
): Promise<number> {
  try {
    return (await file.read(into, from, into.byteLength - from, position)).bytesRead;
  } catch (error) {
    throw new Zo2Error("ZO2_ERR_IO", `${name}: cannot be read: ${messageOf(error)}`, { cause: error });
  }
}
