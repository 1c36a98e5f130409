import { randomBytes } from "node:crypto";
import { open, rm, type FileHandle } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Zo2Error } from "../base/errors.js";
import { messageOf } from "../base/guards.js";
import { LineIndex } from "./line-index.js";

/** Written at once. */
const WRITE_BYTES = 2 ** 20;

/** Lines that wait on disk until they are asked for, in a file without a name: it goes with the process. */
export class LineSpill {
  private readonly index = new LineIndex();
  private waiting: Uint8Array[] = [];
  private waitingBytes = 0;
  private written = 0;

  private constructor(
    private readonly name: string,
    private readonly file: FileHandle,
  ) {}

  /** @param name of what the lines come from, for errors. @throws Zo2Error ZO2_ERR_IO */
  static create(name: string): Promise<LineSpill> {
    return spilling(name, async () => {
      const path = join(tmpdir(), `zo2-${randomBytes(8).toString("hex")}.jsonl`);
      const file = await open(path, "wx+", 0o600);
      await rm(path, { force: true });
      return new LineSpill(name, file);
    });
  }

  get size(): number {
    return this.index.size;
  }

  /** Whether enough waits to be written. */
  get due(): boolean {
    return this.waitingBytes >= WRITE_BYTES;
  }

  add(line: Uint8Array, number: number): void {
    this.index.add(this.written + this.waitingBytes, line.byteLength, number);
    this.waiting.push(line);
    this.waitingBytes += line.byteLength;
  }

  /** Writes what waits: only then can it be read. @throws Zo2Error ZO2_ERR_IO */
  async flush(): Promise<void> {
    const bytes = Buffer.concat(this.waiting);
    this.waiting = [];
    this.waitingBytes = 0;
    await spilling(this.name, async () => {
      for (let done = 0; done < bytes.byteLength; ) {
        const { bytesWritten } = await this.file.write(bytes, done, bytes.byteLength - done, this.written + done);
        done += bytesWritten;
      }
    });
    this.written += bytes.byteLength;
  }

  number(index: number): number {
    return this.index.number(index);
  }

  read(index: number, place: string): Promise<Uint8Array> {
    return this.index.read(index, this.file, place);
  }

  close(): Promise<void> {
    return this.file.close();
  }
}

async function spilling<T>(name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new Zo2Error(
      "ZO2_ERR_IO",
      `${name}: its rows cannot be copied to ${tmpdir()}: ${messageOf(error)}; make room, or set TMPDIR to a folder ` +
        "on another disk",
      { cause: error },
    );
  }
}
