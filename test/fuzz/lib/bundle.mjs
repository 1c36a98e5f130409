/**
 * A folder of small files as one input: for each file its name, a line feed, its length (4 bytes, little-endian) and
 * its bytes.
 */
import { readdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";

const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}$/;

/** @param {Iterable<readonly [string, Uint8Array | string]>} files */
export function packFiles(files) {
  const parts = [];
  for (const [name, content] of files) {
    const bytes = Buffer.from(content);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    parts.push(Buffer.from(`${name}\n`), length, bytes);
  }
  return Buffer.concat(parts);
}

/** The files of an input, whatever its bytes are: what has no usable name or length ends it. */
export function unpackFiles(input) {
  const files = new Map();
  for (let at = 0; at < input.length; ) {
    const end = input.indexOf(10, at);
    const name = end < 0 ? "" : input.toString("latin1", at, end);
    if (!NAME.test(name) || end + 5 > input.length) break;
    const length = input.readUInt32LE(end + 1);
    files.set(name, input.subarray(end + 5, end + 5 + length));
    at = end + 5 + length;
  }
  return files;
}

/** Makes `folder` hold exactly these files. */
export function writeFolder(folder, files) {
  for (const name of readdirSync(folder)) if (!files.has(name)) rmSync(path.join(folder, name), { recursive: true });
  for (const [name, bytes] of files) writeFileSync(path.join(folder, name), bytes);
}

/** Files below `folder` that this process has open. */
export function openFilesIn(folder) {
  const open = [];
  for (const descriptor of readdirSync("/proc/self/fd")) {
    try {
      const target = readlinkSync(`/proc/self/fd/${descriptor}`);
      if (target.startsWith(`${folder}/`)) open.push(target);
    } catch {
      // Closed in the meantime, as the descriptor of this listing is.
    }
  }
  return open;
}

/**
 * One file of the folder changed by `mutateFile(name, bytes)`; sometimes files are swapped, renamed or removed.
 * @param {(name: string, bytes: Buffer) => Buffer} mutateFile
 */
export function mutateBundle(input, random, names, mutateFile) {
  const files = unpackFiles(input);
  if (files.size === 0) return undefined;
  const candidates = [...files.keys()];
  // Of a folder's config.json openCheckpoint asks no more than that it is JSON.
  const weights = candidates.filter((one) => one !== "config.json");
  const name = random.pick(weights.length > 0 && random.chance(0.95) ? weights : candidates);
  const bytes = files.get(name);
  const choice = random.below(24);
  if (choice === 0) {
    files.delete(name);
  } else if (choice === 1) {
    files.delete(name);
    files.set(random.pick(names), bytes);
  } else if (choice === 2) {
    files.set(name, files.get(random.pick(candidates)));
  } else {
    files.set(name, mutateFile(name, bytes));
  }
  return packFiles(files);
}
