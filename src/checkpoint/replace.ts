/** A folder written beside its place and moved there whole, so that no reader ever sees half of it. */
import { randomBytes } from "node:crypto";
import { lstat, mkdir, readdir, realpath, rename, rm, stat, statfs } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { Zo2Error } from "../base/errors.js";
import { makeFolder, readJsonFile, syncFolder } from "../base/files.js";
import { errnoOf, isRecord, messageOf } from "../base/guards.js";
import { ADAPTER_CONFIG_FILE, isAdapterFile, isModelFile, isWeightFile } from "./folder-files.js";

const DISK_FULL = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);

/** What a folder holds, which only one of its kind replaces: a base must not go because an adapter is saved. */
export type FolderKind = "model" | "adapter";

const KINDS: Readonly<Record<FolderKind, { readonly what: string; readonly isOwn: (name: string) => boolean }>> = {
  model: { what: "the folder of a model", isOwn: isModelFile },
  adapter: { what: "the folder of an adapter", isOwn: isAdapterFile },
};

/** Where the new folder goes, and what is there now. */
interface Target {
  readonly path: string;
  readonly kind: FolderKind;
  readonly state: "absent" | "empty" | "older";
}

/**
 * Calls `fill` with the path of a new empty folder beside `dir`, and when it has returned puts that folder in the place
 * of `dir`. Where anything fails, `dir` is as it was and the new folder is gone. Files in an old `dir` that are no part
 * of what it holds move to the new one. `bytes` is what `fill` will write, for the message when the disk is full.
 */
export async function replaceFolder(
  dir: string,
  bytes: number,
  fill: (folder: string) => Promise<void>,
  kind: FolderKind = "model",
): Promise<void> {
  const path = await realpath(dir).catch(() => resolve(dir));
  const parent = dirname(path);
  const stem = join(parent, `.${basename(path)}.${randomBytes(6).toString("hex")}`);
  const temporary = `${stem}.tmp`;
  try {
    const target = { path, kind, state: await stateOf(path, kind) };
    await makeFolder(parent);
    await mkdir(temporary);
    await fill(temporary);
    await syncFolder(temporary);
    await swap(target, temporary, `${stem}.old`);
    await syncFolder(parent);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true }).catch(() => undefined);
    throw await asWriteError(error, path, bytes);
  }
}

/**
 * What stands at `path` now. Throws `ZO2_ERR_IO` for what may not be replaced: a file, the root of a disk, a folder
 * that is neither empty nor one of this kind.
 */
export async function stateOf(path: string, kind: FolderKind = "model"): Promise<Target["state"]> {
  const info = await stat(path).catch((error: unknown) => {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  });
  if (info === undefined) return "absent";
  if (!info.isDirectory())
    throw new Zo2Error("ZO2_ERR_IO", `${path}: is a file, and a folder is to be written there; choose another folder`);
  if (info.dev !== (await stat(dirname(path))).dev || dirname(path) === path) {
    throw new Zo2Error(
      "ZO2_ERR_IO",
      `${path}: is the root of a disk and cannot be replaced whole; choose a folder inside it`,
    );
  }
  const names = await readdir(path);
  if (names.length === 0) return "empty";
  if (kind === "adapter" ? looksLikeAdapter(names) : await looksLikeModel(path, names)) return "older";
  throw new Zo2Error(
    "ZO2_ERR_IO",
    `${path}: holds ${names.length} files and is not ${KINDS[kind].what}, so it is not replaced; choose ` +
      "another folder",
  );
}

/** Many folders have some `config.json`: it must be a model's, or have weights beside it. */
async function looksLikeModel(path: string, names: readonly string[]): Promise<boolean> {
  if (!names.includes("config.json")) return false;
  if (names.some(isWeightFile)) return true;
  const config = await readJsonFile(join(path, "config.json"), "ZO2_ERR_CHECKPOINT").catch(() => undefined);
  return isRecord(config) && (typeof config["model_type"] === "string" || Array.isArray(config["architectures"]));
}

/** Of a folder that has weights of a model as well it is not known whose place this is. */
function looksLikeAdapter(names: readonly string[]): boolean {
  return names.includes(ADAPTER_CONFIG_FILE) && !names.some(isWeightFile);
}

/** A folder may be renamed onto an empty one; one that is not empty has to step aside first. */
async function swap(target: Target, temporary: string, aside: string): Promise<void> {
  if (target.state !== "older") {
    await rename(temporary, target.path);
    return;
  }
  await rename(target.path, aside);
  try {
    await rename(temporary, target.path);
  } catch (error) {
    await rename(aside, target.path);
    throw error;
  }
  // From here on the new folder is in place: what is left is to keep what was not ours, and to tidy up, once no loss of
  // power can bring back the old folder's name.
  try {
    await syncFolder(dirname(target.path));
    for (const name of await readdir(aside)) {
      if (!KINDS[target.kind].isOwn(name) && !(await lstat(join(target.path, name)).catch(() => undefined))) {
        await rename(join(aside, name), join(target.path, name));
      }
    }
    // A move is certain in both folders, or the file would go with the old one.
    await syncFolder(target.path);
    await syncFolder(aside);
    await rm(aside, { recursive: true, force: true });
  } catch (error) {
    throw new Zo2Error(
      "ZO2_ERR_IO",
      `${target.path}: saved, but the folder it replaced could not be cleared away and is now ${aside}: ` +
        `${messageOf(error)}`,
      { cause: error },
    );
  }
}

async function asWriteError(error: unknown, path: string, bytes: number): Promise<unknown> {
  const code = errnoOf(error);
  if (error instanceof Zo2Error || code === undefined || !isRecord(error) || !("syscall" in error)) return error;
  if (!DISK_FULL.has(code))
    return new Zo2Error("ZO2_ERR_IO", `${path}: cannot be written: ${messageOf(error)}`, { cause: error });
  const space = await statfs(dirname(path)).catch(() => undefined);
  const free = space === undefined || code !== "ENOSPC" ? "" : ` (${space.bavail * space.bsize} are free)`;
  return new Zo2Error(
    "ZO2_ERR_IO",
    `disk full: ${bytes} bytes needed in ${dirname(path)}${free}, ${code}; free space or choose another folder`,
    { cause: error },
  );
}
