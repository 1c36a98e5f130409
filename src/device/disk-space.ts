import { constants, promises as fs } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { formatBytes } from "../base/bytes.js";
import { Zo2Error } from "../base/errors.js";
import type { Warning } from "../base/warnings.js";

/** Where weights on disk are, and how much they may take. */
export interface DiskOptions {
  readonly diskPath?: string | undefined;
  readonly diskMemory?: number | undefined;
}

/** What `statfs` calls file systems that keep files in memory: TMPFS_MAGIC and RAMFS_MAGIC of linux/magic.h. */
const IN_MEMORY: readonly number[] = [0x01021994, 0x858458f6];

/** @param bytes of weights in scratch files @throws Zo2Error ZO2_ERR_MEMORY_BUDGET */
export function checkDiskBudget(bytes: number, { diskMemory }: DiskOptions): void {
  if (diskMemory === undefined || bytes <= diskMemory) return;
  throw new Zo2Error(
    "ZO2_ERR_MEMORY_BUDGET",
    `the weights at rest need ${formatBytes(bytes)} (${bytes} bytes) of disk, ${formatBytes(diskMemory)} is ` +
      'allowed; choose a narrower dtype as option "offload.wire", or raise option "offload.diskMemory"',
  );
}

/**
 * Refuses a file that its folder cannot take, before weights are read: it is allocated with the arenas, and without
 * this only once the model is there.
 *
 * @param bytes of weights that are written there when the model is loaded
 * @param later of all that may come to be
 * @returns what is unusual about the folder
 * @throws Zo2Error ZO2_ERR_CONFIG, ZO2_ERR_MEMORY_BUDGET, ZO2_ERR_OUT_OF_MEMORY
 */
export async function checkDiskSpace(bytes: number, options: DiskOptions, later = bytes): Promise<Warning[]> {
  const { diskPath } = options;
  if (later === 0) return [];
  if (diskPath === undefined)
    throw new Zo2Error(
      "ZO2_ERR_CONFIG",
      'weights rest on disk and option "offload.diskPath" is missing; give a folder on a fast disk',
    );
  checkDiskBudget(bytes, options);
  await checkFolder(diskPath);
  const { bavail, bsize, type } = await fs.statfs(diskPath);
  if (bavail * bsize < bytes)
    throw noSpace(diskPath, bytes, `${formatBytes(bavail * bsize)} are free${await keptThere(diskPath)}`);
  if (process.platform !== "linux" || !IN_MEMORY.includes(type)) return [];
  const message =
    `option "offload.diskPath": ${diskPath} is kept in memory (tmpfs): weights that rest there take host ` +
    "memory all the same; name a folder on a disk";
  return [{ code: "ZO2_WARN_DISK", message }];
}

/** What files of weights are called that runs keep, and only such are ever taken away. */
const KEPT = /^zo2-[0-9a-f]{16}(?:-\d+)?\.weights$/;

export function isNameOfKept(name: string): boolean {
  return KEPT.test(name);
}

/** @param run 16 hexadecimal digits. @param file number among those of the run. */
export function nameOfKept(run: string, file: number): string {
  return `zo2-${run}${file === 0 ? "" : `-${file}`}.weights`;
}

/** Names the files of runs that are there, which may be what takes the room. */
async function keptThere(diskPath: string): Promise<string> {
  const names = (await fs.readdir(diskPath)).filter(isNameOfKept);
  if (names.length === 0) return "";
  const sizes = await Promise.all(names.map((name) => fs.stat(join(diskPath, name)).catch(() => null)));
  const listed = names.map((name, i) => `${name} (${formatBytes(sizes[i]?.size ?? 0)})`).join(", ");
  return `, beside what runs have left there to go on from: ${listed}; where it is deleted, its run is replayed`;
}

/** @param why in the words of whoever found out. */
export function noSpace(diskPath: string, bytes: number, why: string): Zo2Error {
  return new Zo2Error(
    "ZO2_ERR_OUT_OF_MEMORY",
    `the weights at rest need ${formatBytes(bytes)} (${bytes} bytes) in the folder ${diskPath}: ${why}; free space ` +
      'there, choose another folder as option "offload.diskPath", or a narrower dtype as option "offload.wire"',
  );
}

async function checkFolder(diskPath: string): Promise<void> {
  try {
    if (!(await fs.stat(diskPath)).isDirectory()) throw new Error("it is no folder");
    await fs.access(diskPath, constants.W_OK | constants.X_OK);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Zo2Error(
      "ZO2_ERR_CONFIG",
      `option "offload.diskPath": weights cannot be written to ${diskPath} (${reason}); give a folder that ` +
        "exists and may be written to",
    );
  }
}
