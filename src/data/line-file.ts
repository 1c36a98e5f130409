import type { FileHandle } from "node:fs/promises";
import { Zo2Error } from "../base/errors.js";
import { checkAborted } from "./check.js";
import { parseLine } from "./jsonl.js";
import { LineIndex, readAt } from "./line-index.js";
import { splitLines } from "./lines.js";
import type { PlacedRecord, RecordFile, ScannedRecord } from "./records.js";

/** JSON Lines, of which only the place of each line is held in memory. */
export class LineFile implements RecordFile {
  readonly unit = "lines";
  private readonly index = new LineIndex();
  private closed: Promise<void> | undefined;

  constructor(
    readonly name: string,
    private readonly file: FileHandle,
    private readonly bytes: number,
    private readonly maxLineBytes: number | undefined,
  ) {}

  get size(): number {
    return this.index.size;
  }

  async *scan(signal: AbortSignal | undefined): AsyncGenerator<ScannedRecord, void, undefined> {
    for await (const { bytes, number, offset } of splitLines(this.chunks(signal), this.name, this.maxLineBytes)) {
      const place = this.place(number);
      yield {
        place,
        line: number,
        // A file that grows while it is read is no more than whole.
        share: Math.min(1, (offset + bytes.byteLength) / this.bytes),
        record: () => parseLine(bytes, place),
        keep: () => this.index.add(offset, bytes.byteLength, number),
      };
    }
  }

  async at(index: number): Promise<PlacedRecord> {
    if (this.closed !== undefined) throw new Zo2Error("ZO2_ERR_DISPOSED", `data set ${this.name}: read after close`);
    const place = this.place(this.index.number(index));
    return { record: parseLine(await this.index.read(index, this.file, place), place), place };
  }

  close(): Promise<void> {
    this.closed ??= this.file.close();
    return this.closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private place(number: number): string {
    return `${this.name}:${number}`;
  }

  private async *chunks(signal: AbortSignal | undefined): AsyncGenerator<Uint8Array, void, undefined> {
    const chunk = new Uint8Array(1 << 20);
    for (let position = 0; ; ) {
      checkAborted(this.name, signal);
      const bytesRead = await readAt(this.file, this.name, chunk, 0, position);
      if (bytesRead === 0) return;
      yield chunk.subarray(0, bytesRead);
      position += bytesRead;
    }
  }
}
