/**
 * Addons that were built before, by all that they depend on, outside of node_modules, which package managers empty.
 * `ZO2_BUILD_CACHE` is the folder, or "off".
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { root } from "./settings.mjs";
import { sourceFiles } from "./sources.mjs";

const KEPT = 8;

/** The folder of the cache; undefined where there is none. */
export function cacheFolder(environment = process.env) {
  const { ZO2_BUILD_CACHE: named, XDG_CACHE_HOME: caches } = environment;
  if (named === "off") return undefined;
  if (named) return path.resolve(named);
  try {
    return path.join(caches || path.join(os.homedir(), ".cache"), "zo2", "addons");
  } catch {
    return undefined; // A user without an entry in /etc/passwd.
  }
}

/**
 * The name of a build: its sources, its options, what CMake chose (`buildInfo`: compiler, matrix product, CUDA
 * toolkit), the libraries that are linked in, by their files, and the C library.
 */
export function cacheKey({ options, buildInfo, libraries }) {
  const hash = createHash("sha256");
  const add = (text) => hash.update(`${Buffer.byteLength(text)}:`).update(text);
  for (const file of sourceFiles()) {
    add(file);
    add(fs.readFileSync(path.join(root, file), "utf8"));
  }
  add(JSON.stringify(options));
  add(buildInfo);
  for (const file of libraries) {
    const { size, mtimeMs } = fs.statSync(file);
    add(`${file} ${size} ${mtimeMs}`);
  }
  process.report.excludeNetwork = true;
  add(`${process.platform} ${process.arch} ${process.report.getReport().header.glibcVersionRuntime ?? "no glibc"}`);
  return hash.digest("hex").slice(0, 32);
}

/** Whether nobody but this user, or root, can have written it. */
function isOurs(stat) {
  return (stat.uid === process.getuid() || stat.uid === 0) && (stat.mode & 0o022) === 0;
}

/** Copies the build of that name to `target`; whether there is one. */
export function takeFromCache(folder, key, target) {
  const file = path.join(folder, key, "zo2.node");
  try {
    if (!isOurs(fs.statSync(path.dirname(file))) || !isOurs(fs.statSync(file))) return false;
    fs.mkdirSync(path.dirname(target), { recursive: true });
    // Never over a file that a process may have mapped.
    fs.rmSync(target, { force: true });
    fs.copyFileSync(file, target);
    fs.utimesSync(path.dirname(file), new Date(), new Date());
    return true;
  } catch {
    return false;
  }
}

/** Keeps a build, and of all builds the latest `KEPT` that were used. @returns whether it could be written */
export function putIntoCache(folder, key, addon) {
  try {
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
    const partial = fs.mkdtempSync(path.join(folder, ".partial-"));
    fs.copyFileSync(addon, path.join(partial, "zo2.node"));
    fs.chmodSync(path.join(partial, "zo2.node"), 0o700);
    const entry = path.join(folder, key);
    fs.rmSync(entry, { recursive: true, force: true });
    fs.renameSync(partial, entry);
    prune(folder);
    return true;
  } catch {
    return false;
  }
}

function prune(folder) {
  const entries = fs
    .readdirSync(folder)
    .map((name) => ({ name, used: fs.statSync(path.join(folder, name)).mtimeMs }))
    .sort((a, b) => b.used - a.used);
  for (const { name } of entries.slice(KEPT)) fs.rmSync(path.join(folder, name), { recursive: true, force: true });
}
