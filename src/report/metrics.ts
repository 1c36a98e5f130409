import { open, type FileHandle } from "node:fs/promises";
import { Zo2Error } from "../base/errors.js";

/**
 * Writes records as JSON Lines. A line is in the file when its `write` has resolved, so that a crash loses none of
 * them.
 */
export class MetricsWriter implements AsyncDisposable {
  private readonly handle: FileHandle;
  private readonly path: string;
  private last: Promise<void> = Promise.resolve();
  private closed = false;

  private constructor(path: string, handle: FileHandle) {
    this.path = path;
    this.handle = handle;
  }

  /** Starts a new file at `path`, in place of an old one. @throws Zo2Error `ZO2_ERR_IO` */
  static async create(path: string): Promise<MetricsWriter> {
    try {
      return new MetricsWriter(path, await open(path, "w"));
    } catch (error) {
      throw ioError(path, error);
    }
  }

  /**
   * Adds one record. Numbers that JSON has no form for become null, bigints their digits as text.
   * Records stand in the order of the calls, whether or not the calls are awaited.
   * @throws Zo2Error `ZO2_ERR_IO`, `ZO2_ERR_DISPOSED`
   */
  write(record: Readonly<Record<string, unknown>>): Promise<void> {
    if (this.closed)
      return Promise.reject(
        new Zo2Error("ZO2_ERR_DISPOSED", `${this.path}: the metrics file was closed; write before closing it`),
      );
    const plain = (_: string, value: unknown) => (typeof value === "bigint" ? String(value) : value);
    const line = `${JSON.stringify(record, plain)}\n`;
    const written = this.last.then(async () => {
      try {
        await this.handle.appendFile(line);
      } catch (error) {
        throw ioError(this.path, error);
      }
    });
    // A failed line is reported by its own call; the next one tries again.
    this.last = written.catch(() => undefined);
    return written;
  }

  /** Closes the file after the last line. Closing twice is allowed. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.last;
    await this.handle.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function ioError(path: string, cause: unknown): Zo2Error {
  return new Zo2Error(
    "ZO2_ERR_IO",
    `${path}: metrics cannot be written: ${cause instanceof Error ? cause.message : String(cause)}`,
    { cause },
  );
}
