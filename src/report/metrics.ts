import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { open, readFile, realpath, rename, rm, stat, type FileHandle } from "node:fs/promises";
import { Zo2Error } from "../base/errors.js";
import { errnoOf, isRecord, messageOf } from "../base/guards.js";

/** In the folder of a run. */
export const METRICS_FILE = "metrics.jsonl";

const { O_WRONLY, O_CREAT, O_EXCL, O_TRUNC, O_APPEND } = constants;

/**
 * Writes records as JSON Lines. A line is in the file when its `write` has resolved, so that a crash loses none of
 * them. A file that is there already is replaced when the first line of the new one stands, so that a full disk does
 * not cost it.
 */
export class MetricsWriter implements AsyncDisposable {
  private last: Promise<void> = Promise.resolve();
  private closed = false;
  /** Of whole lines. */
  private bytes = 0;

  private constructor(
    private readonly path: string,
    private readonly handle: FileHandle,
    /** Where the lines go until the first one stands. */
    private beside: string | undefined,
  ) {}

  /** Starts a new file at `path`, in place of an old one. @throws Zo2Error `ZO2_ERR_IO` */
  static async create(path: string): Promise<MetricsWriter> {
    try {
      const old = await stat(path).catch(() => undefined);
      if (old?.isFile() === true && old.size > 0) {
        const target = await realpath(path);
        const beside = `${target}.${randomBytes(6).toString("hex")}.tmp`;
        const flags = O_WRONLY | O_CREAT | O_EXCL | O_APPEND;
        const handle = await open(beside, flags, old.mode).catch((error: unknown) => {
          // A file that this user may write, in a folder where none can be made.
          if (errnoOf(error) !== "EACCES") throw error;
        });
        if (handle !== undefined) return new MetricsWriter(target, handle, beside);
      }
      const handle = await open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND);
      return new MetricsWriter(path, handle, undefined);
    } catch (error) {
      throw ioError(path, error);
    }
  }

  /**
   * Goes on with the file at `path`: with those of its lines that `keeps` takes, so that none of a run's is there
   * twice; with a new file where there is none. @throws Zo2Error `ZO2_ERR_IO`
   */
  static async resume(path: string, keeps: (record: Readonly<Record<string, unknown>>) => boolean) {
    try {
      const old = await readFile(path, "utf8").catch((error: unknown) => {
        if (errnoOf(error) === "ENOENT") return "";
        throw error;
      });
      const kept = old.split("\n").filter((line) => keepsLine(line, keeps));
      const writer = await MetricsWriter.create(path);
      // In the place of the old file at once, as the first line of a new one is.
      if (kept.length > 0) await writer.append(`${kept.join("\n")}\n`);
      await writer.putInPlace();
      return writer;
    } catch (error) {
      throw error instanceof Zo2Error ? error : ioError(path, error);
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
    const written = this.last
      .catch(() => undefined)
      .then(async () => {
        try {
          await this.append(line);
          await this.putInPlace();
        } catch (error) {
          throw ioError(this.path, error);
        }
      });
    // A failed line is reported by its own call; the next one tries again.
    this.last = written;
    this.last.catch(() => undefined);
    return written;
  }

  /** Closes the file after the last line. Closing twice is allowed. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    // A run that wrote nothing leaves an empty file; one that could not leaves the old one.
    const failed = await this.last.then(
      () => false,
      () => true,
    );
    try {
      await this.handle.close();
      if (!failed) await this.putInPlace();
    } catch (error) {
      throw ioError(this.path, error);
    } finally {
      if (this.beside !== undefined) await rm(this.beside, { force: true });
    }
  }

  /** The line, or nothing of it: half a line would spoil the next one. */
  private async append(line: string): Promise<void> {
    try {
      await this.handle.appendFile(line);
      this.bytes += Buffer.byteLength(line);
    } catch (error) {
      await this.handle.truncate(this.bytes).catch(() => undefined);
      throw error;
    }
  }

  private async putInPlace(): Promise<void> {
    if (this.beside === undefined) return;
    await rename(this.beside, this.path);
    this.beside = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** A line that a crash has torn is none of the file's. */
function keepsLine(line: string, keeps: (record: Readonly<Record<string, unknown>>) => boolean): boolean {
  try {
    const record: unknown = JSON.parse(line);
    return isRecord(record) && keeps(record);
  } catch {
    return false;
  }
}

function ioError(path: string, cause: unknown): Zo2Error {
  return new Zo2Error("ZO2_ERR_IO", `${path}: metrics cannot be written: ${messageOf(cause)}`, { cause });
}
