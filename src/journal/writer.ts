import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { at } from "../base/at.js";
import { Zo2Error } from "../base/errors.js";
import { syncFolder } from "../base/files.js";
import { messageOf } from "../base/guards.js";
import { blocksOf, encodeCoefficients } from "./compact.js";
import { checksumOf, encodeFrame, FIRST_CHECKSUM, type Kind, KINDS, MAGIC } from "./frames.js";
import { encodeJson, type RunHeader, type RunSession } from "./header.js";
import type { Journal } from "./read.js";
import {
  type DroppedRecord,
  encodeDropped,
  encodeEvaluation,
  encodeStep,
  type EvaluationRecord,
  MAX_SHARDS,
  type StepRecord,
} from "./record.js";

/**
 * When records are on the disk itself. A record is in the file when its `append` has resolved, and outlives the
 * process; what the machine's end costs is what was not synced: `"second"`: about the last second; `"step"`: nothing;
 * `"never"`: what the system had not written yet.
 */
export type Durability = "second" | "step" | "never";

const SYNC_EVERY_MS = 1000;

/** Appends to a journal. Calls take their turn; what fails leaves the file as it was before. */
export class JournalWriter implements AsyncDisposable {
  private last: Promise<unknown> = Promise.resolve();
  private closed = false;
  private lastSync = performance.now();
  private syncing: Promise<void> | null = null;
  /** Of a sync that waits for its second. */
  private timer: NodeJS.Timeout | null = null;

  private constructor(
    readonly path: string,
    private readonly handle: FileHandle,
    private readonly durability: Durability,
    private end: number,
    private checksum: number,
    /** Whether all of the file is on the disk. */
    private synced: boolean,
  ) {}

  /** Begins a run at `path`; there is a whole header or no file. @throws Zo2Error ZO2_ERR_IO */
  static async create(path: string, header: RunHeader, durability: Durability): Promise<JournalWriter> {
    const temporary = `${path}.tmp`;
    try {
      const handle = await open(temporary, "w");
      try {
        const frame = encodeFrame(KINDS.header, encodeJson(header), FIRST_CHECKSUM, true);
        await writeWhole(handle, Buffer.concat([MAGIC, frame]), 0);
        if (durability !== "never") await handle.datasync();
        await rename(temporary, path);
        if (durability !== "never") await syncFolder(dirname(path));
        const end = MAGIC.byteLength + frame.byteLength;
        return new JournalWriter(path, handle, durability, end, checksumOf(frame), durability !== "never");
      } catch (error) {
        await handle.close().catch(() => undefined);
        await rm(temporary, { force: true });
        throw error;
      }
    } catch (error) {
      throw failure(path, error);
    }
  }

  /** Goes on behind the last whole record; what was torn off is cut away. @throws Zo2Error ZO2_ERR_IO */
  static async resume(journal: Journal, durability: Durability): Promise<JournalWriter> {
    const { path, end, checksum, torn } = journal;
    try {
      const handle = await open(path, "r+");
      try {
        if (torn > 0) await handle.truncate(end);
        if (durability !== "never") {
          // All of it: the length too, which may be less now, and the name, which a process may have left unsynced.
          await handle.sync();
          await syncFolder(dirname(path));
        }
        return new JournalWriter(path, handle, durability, end, checksum, durability !== "never");
      } catch (error) {
        await handle.close().catch(() => undefined);
        throw error;
      }
    } catch (error) {
      throw failure(path, error);
    }
  }

  session(session: RunSession): Promise<void> {
    return this.append(KINDS.session, encodeJson(session));
  }

  /** @throws Zo2Error ZO2_ERR_IO, ZO2_ERR_DISPOSED */
  step(record: StepRecord): Promise<void> {
    if (record.shards.length === 0 || record.shards.length > MAX_SHARDS)
      throw new Error(`a step of ${record.shards.length} shards; 1 to ${MAX_SHARDS} have room`);
    return this.append(KINDS.step, encodeStep(record));
  }

  /**
   * A step that does not count, with those before it that are taken back with it: one record, whole or not there.
   * @param step null where it stands there already.
   */
  dropped(record: Omit<DroppedRecord, "step">, step: StepRecord | null): Promise<void> {
    return this.append(KINDS.dropped, encodeDropped(record, step));
  }

  evaluation(record: EvaluationRecord): Promise<void> {
    return this.append(KINDS.evaluation, encodeEvaluation(record));
  }

  /** A block of the compact form. */
  coefficients(block: readonly StepRecord[]): Promise<void> {
    return this.append(KINDS.coefficients, encodeCoefficients(block));
  }

  /** Resolves when all that was written is on the disk, whatever the durability. @throws Zo2Error ZO2_ERR_IO */
  sync(): Promise<void> {
    return this.inTurn(async () => {
      await this.syncing;
      await this.syncNow();
    });
  }

  get bytes(): number {
    return this.end;
  }

  /**
   * Says that nothing more comes, and closes the file. A second call does nothing. Where the last record could not be
   * written, whoever wrote it has heard so, and the file is closed as it is.
   */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    if (this.timer !== null) clearTimeout(this.timer);
    try {
      const failed = await this.last.then(
        () => false,
        () => true,
      );
      if (failed) return;
      if (this.durability !== "never") await this.syncNow();
      await this.write(KINDS.closed, new Uint8Array(0));
      if (this.durability !== "never") await this.syncNow();
    } catch (error) {
      throw failure(this.path, error);
    } finally {
      await this.handle.close();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private append(kind: Kind, payload: Uint8Array): Promise<void> {
    if (this.closed)
      return Promise.reject(new Zo2Error("ZO2_ERR_DISPOSED", `${this.path}: the journal was closed; resume the run`));
    return this.inTurn(() => this.write(kind, payload));
  }

  private inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.last
      .catch(() => undefined)
      .then(work)
      .catch((error: unknown) => {
        throw failure(this.path, error);
      });
    this.last = done;
    this.last.catch(() => undefined);
    return done;
  }

  private async write(kind: Kind, payload: Uint8Array): Promise<void> {
    // What was written during a sync would be neither before nor behind it.
    await this.syncing;
    const frame = encodeFrame(kind, payload, this.checksum, this.synced);
    this.synced = false;
    try {
      await writeWhole(this.handle, frame, this.end);
    } catch (error) {
      await this.handle.truncate(this.end).catch(() => undefined);
      throw error;
    }
    this.end += frame.byteLength;
    this.checksum = checksumOf(frame);
    if (this.durability === "step") await this.syncNow();
    else if (this.durability === "second") {
      const left = this.lastSync + SYNC_EVERY_MS - performance.now();
      if (left <= 0) this.syncSoon();
      else this.syncLater(left);
    }
  }

  /** Where no record comes meanwhile: an evaluation, or a step, may take long. */
  private syncLater(milliseconds: number): void {
    this.timer ??= setTimeout(() => {
      this.timer = null;
      const before = this.last;
      this.inTurn(async () => {
        if (!this.synced && !this.closed) this.syncSoon();
        // What failed before has failed all the same.
        await before;
      }).catch(() => undefined);
    }, milliseconds).unref();
  }

  private syncSoon(): void {
    const syncing = this.syncNow().then(() => {
      this.syncing = null;
    });
    // Whoever writes next hears of a failure: the system says it once, and another sync would not.
    syncing.catch(() => undefined);
    this.syncing = syncing;
  }

  private async syncNow(): Promise<void> {
    this.lastSync = performance.now();
    await this.handle.datasync();
    this.synced = true;
  }
}

/**
 * Writes the coefficients of a journal alone, which replay alike. @returns bytes @throws Zo2Error ZO2_ERR_IO
 */
export async function writeCompact(path: string, journal: Journal): Promise<number> {
  const writer = await JournalWriter.create(path, journal.header, "never");
  try {
    let done = 0;
    const blocks = async (end: number) => {
      for (const block of blocksOf(journal.steps.slice(done, end))) await writer.coefficients(block);
      done = end;
    };
    for (const record of journal.dropped) {
      const stands = done > record.step;
      if (!stands) await blocks(record.step);
      await writer.dropped(record, stands ? null : { ...at(journal.steps, record.step), shards: [] });
      done = record.step + 1;
    }
    await blocks(journal.steps.length);
  } finally {
    await writer.close();
  }
  return writer.bytes;
}

async function writeWhole(handle: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.byteLength; ) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.byteLength - done, position + done);
    done += bytesWritten;
  }
}

function failure(path: string, cause: unknown): Zo2Error {
  if (cause instanceof Zo2Error) return cause;
  return new Zo2Error(
    "ZO2_ERR_IO",
    `${path}: the journal cannot be written: ${messageOf(cause)}; what stands in it is whole, and the run can be ` +
      "resumed when there is room",
    { cause },
  );
}
