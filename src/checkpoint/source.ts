import type { BigIntStats } from "node:fs";
import { open, stat, type FileHandle } from "node:fs/promises";
import { Zo2Error } from "../base/errors.js";
import { errnoOf, messageOf } from "../base/guards.js";

/** One system call moves at most this many bytes: Linux stops a little below 2 GiB. */
const MAX_READ = 2 ** 30;

/** Ranged reads of one file. */
export interface FileSource {
  readonly path: string;
  /** Size when it was opened. */
  readonly bytes: number;
  /**
   * Fills `into` from byte `position` on. Throws `ZO2_ERR_CHECKPOINT` when the file ends before, `ZO2_ERR_IO` when the
   * system fails.
   */
  read(position: number, into: Uint8Array): Promise<void>;
}

export interface OpenSource extends FileSource {
  /** Whether its name still leads to the same file, as it was when it was opened. Throws `ZO2_ERR_IO`. */
  unchanged(): Promise<boolean>;
  close(): Promise<void>;
}

/** A `ZO2_ERR_CHECKPOINT` about `file`. */
export function broken(file: string, what: string, cause?: unknown): Zo2Error {
  return new Zo2Error("ZO2_ERR_CHECKPOINT", `${file}: ${what}`, cause === undefined ? undefined : { cause });
}

function unreadable(path: string, cause: unknown): Zo2Error {
  return new Zo2Error("ZO2_ERR_IO", `${path}: cannot be read: ${messageOf(cause)}`, { cause });
}

/**
 * Opens a regular file for reading. Throws `ZO2_ERR_CHECKPOINT` for anything else, `ZO2_ERR_IO` when the system fails.
 */
export async function openSource(path: string): Promise<OpenSource> {
  let handle: FileHandle;
  try {
    handle = await open(path, "r");
  } catch (error) {
    throw unreadable(path, error);
  }
  try {
    const info = await handle.stat({ bigint: true });
    if (!info.isFile()) throw broken(path, "not a regular file");
    return {
      path,
      bytes: Number(info.size),
      unchanged: () => isStill(path, info),
      read: (position, into) => readRange(handle, path, position, into),
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close().catch(() => undefined);
    throw error instanceof Zo2Error ? error : unreadable(path, error);
  }
}

async function isStill(path: string, before: BigIntStats): Promise<boolean> {
  let now: BigIntStats;
  try {
    now = await stat(path, { bigint: true });
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return false;
    throw unreadable(path, error);
  }
  return (["dev", "ino", "size", "mtimeNs"] as const).every((field) => now[field] === before[field]);
}

async function readRange(handle: FileHandle, path: string, position: number, into: Uint8Array): Promise<void> {
  let done = 0;
  while (done < into.byteLength) {
    let bytesRead: number;
    try {
      ({ bytesRead } = await handle.read(into, done, Math.min(MAX_READ, into.byteLength - done), position + done));
    } catch (error) {
      throw unreadable(path, error);
    }
    if (bytesRead === 0)
      throw broken(
        path,
        `ends at byte ${position + done}, ${into.byteLength - done} bytes early: it changed after it was opened`,
      );
    done += bytesRead;
  }
}
