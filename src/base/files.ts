import { randomBytes } from "node:crypto";
import { mkdir, open, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { type ErrorCode, Zo2Error } from "./errors.js";
import { errnoOf, messageOf } from "./guards.js";

/** JSON files beside weights are small; a larger one is not what its name says. */
const MAX_JSON_BYTES = 256 * 2 ** 20;

/** Whether something is at `path`. @throws Zo2Error ZO2_ERR_IO where that cannot be found out */
export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENOTDIR") return false;
    throw new Zo2Error("ZO2_ERR_IO", `${path}: cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

/** The text of a small file, or undefined where there is none. Other failures are `ZO2_ERR_IO`. */
export async function readTextFile(path: string, code: ErrorCode): Promise<string | undefined> {
  let bytes: Buffer;
  try {
    const { size } = await stat(path);
    if (size > MAX_JSON_BYTES)
      throw new Zo2Error(code, `${path}: ${size} bytes, more than the ${MAX_JSON_BYTES} such a file may have`);
    bytes = await readFile(path);
  } catch (error) {
    if (error instanceof Zo2Error) throw error;
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENOTDIR") return undefined;
    throw new Zo2Error("ZO2_ERR_IO", `${path}: cannot be read: ${messageOf(error)}`, { cause: error });
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new Zo2Error(code, `${path}: not UTF-8`, { cause: error });
  }
}

/** The parsed content of a JSON file, or undefined where there is none. What does not parse is an error with `code`. */
export async function readJsonFile(path: string, code: ErrorCode): Promise<unknown> {
  const text = await readTextFile(path, code);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new Zo2Error(code, `${path}: not JSON: ${messageOf(error)}`, { cause: error });
  }
}

/**
 * Makes the folder and those above it; the names of those that are new are on the disk. Where that fails the error says
 * why: Node's `recursive` says ENOENT for a disk that is full or read-only.
 */
export async function makeFolder(path: string): Promise<void> {
  let first: string | undefined;
  try {
    first = await mkdir(path, { recursive: true });
  } catch (error) {
    if (errnoOf(error) !== "ENOENT" || dirname(path) === path) throw error;
    await makeFolder(dirname(path));
    await mkdir(path);
    first = path;
  }
  if (first === undefined) return;
  for (let made = resolve(path); ; made = dirname(made)) {
    await syncName(made);
    if (made === resolve(first) || dirname(made) === made) return;
  }
}

/** Resolves when the name of a folder is on the disk, as far as the folder that holds it may be read. */
export async function syncName(path: string): Promise<void> {
  await syncFolder(dirname(resolve(path))).catch((error: unknown) => {
    if (errnoOf(error) !== "EACCES") throw error;
  });
}

/** Writes a small file, or one in its place: whole or not at all, and on the disk when this resolves. */
export async function replaceTextFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    const file = await open(temporary, "wx");
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    await syncFolder(dirname(path));
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Resolves when the folder's entries, new names and renames, are on the disk. */
export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
