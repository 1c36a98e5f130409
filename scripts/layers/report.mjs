/** Files of the repository, and what is wrong in them. */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");

/** Names from the root of the files below `folder` whose names have the pattern in them. */
export function files(folder, pattern) {
  const absolute = path.join(root, folder);
  if (!existsSync(absolute)) return [];
  return readdirSync(absolute, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && pattern.test(entry.name))
    .map((entry) => path.relative(root, path.join(entry.parentPath ?? entry.path, entry.name)));
}

export function textOf(file) {
  return readFileSync(path.join(root, file), "utf8");
}

/** `FILE:LINE: WHAT` for a place in the file's text. */
export function breachAt(file, text, position, what) {
  return `${file}:${text.slice(0, position).split("\n").length}: ${what}`;
}
