/** The files that the addon is built from. */
import { existsSync, readdirSync, statSync } from "node:fs";
import path from "node:path";
import { root } from "./settings.mjs";

/** The folders that the package has, and the one that only a clone has. */
const FOLDERS = ["binding", "cmake", "contract", "cpu", "cuda", "disk", "numerics"];
const EMULATOR = "emulator";

/** Names from the package's root, sorted. */
export function sourceFiles({ emulator = false } = {}) {
  const files = ["CMakeLists.txt"];
  const visit = (folder) => {
    for (const entry of readdirSync(path.join(root, folder), { withFileTypes: true })) {
      const name = path.posix.join(folder, entry.name);
      if (entry.isDirectory()) visit(name);
      else if (/\.(h|cc|cu|cuh|cmake|in)$|CMakeLists\.txt$/.test(entry.name)) files.push(name);
    }
  };
  for (const folder of emulator ? [...FOLDERS, EMULATOR] : FOLDERS)
    if (existsSync(path.join(root, folder))) visit(folder);
  return files.sort();
}

/** Newest modification time of all of them, in milliseconds. */
export function newestSource() {
  return Math.max(...sourceFiles({ emulator: true }).map((file) => statSync(path.join(root, file)).mtimeMs));
}
