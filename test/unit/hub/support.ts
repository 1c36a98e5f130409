import { lstat, readdir, readFile, readlink } from "node:fs/promises";
import { join, relative } from "node:path";
import { resolveModel, type ResolveModelOptions } from "../../../src/hub/index.js";
import { cleanUp, temporaryFolder } from "../checkpoint/support.js";
import { FakeHub, type FakeRepository, sha256 } from "./server.js";

export { failure, temporaryFolder } from "../checkpoint/support.js";

/** Bytes that look the same nowhere: a part put in the wrong place shows. */
export function noise(bytes: number, seed: number): Buffer {
  const out = Buffer.alloc(bytes);
  for (let i = 0, x = seed * 2654435761 + 1; i < bytes; i++)
    out[i] = (x = (Math.imul(x, 1664525) + 1013904223) >>> 0) >>> 24;
  return out;
}

/** For tests in which an attempt fails. */
export const QUICK = { retryMs: 1, stallMs: 30_000 };

export const COMMIT = "0123456789abcdef0123456789abcdef01234567";

export function repository(
  files: Record<string, string | Buffer> = {},
  o: Partial<FakeRepository> = {},
): FakeRepository {
  const usual = {
    "config.json": '{"model_type":"opt"}',
    "tokenizer.json": "{}",
    "README.md": "read me",
    "model.safetensors": noise(300_000, 1),
  };
  const all: Record<string, string | Buffer> = { ...usual, ...files };
  return {
    commit: COMMIT,
    files: Object.fromEntries(Object.entries(all).map(([name, content]) => [name, Buffer.from(content as Buffer)])),
    ...o,
  };
}

export function without(files: Record<string, Buffer>, ...names: string[]): Record<string, Buffer> {
  return Object.fromEntries(Object.entries(files).filter(([name]) => !names.includes(name)));
}

const hubs: FakeHub[] = [];

export async function startHub(): Promise<FakeHub> {
  const hub = await new FakeHub().start();
  hubs.push(hub);
  return hub;
}

export async function tidy(): Promise<void> {
  for (const hub of hubs.splice(0)) await hub.stop();
  await cleanUp();
}

/** An environment of its own for each test: a home folder, and the fake Hub. */
export async function setUp() {
  const hub = await startHub();
  const home = await temporaryFolder();
  const env: NodeJS.ProcessEnv = { HF_HOME: home, HF_ENDPOINT: hub.endpoint, PATH: process.env["PATH"] };
  return {
    hub,
    home,
    cache: join(home, "hub"),
    env,
    get: (name: string, o: ResolveModelOptions = {}) => resolveModel(name, { env, ...o }),
  };
}

/** Every file and link below `folder`: a link's target, or a file's length. */
export async function treeOf(folder: string): Promise<Record<string, string | number>> {
  const tree: Record<string, string | number> = {};
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isDirectory()) continue;
    const path = join(entry.parentPath ?? entry.path, entry.name);
    tree[relative(folder, path)] = entry.isSymbolicLink() ? `-> ${await readlink(path)}` : (await lstat(path)).size;
  }
  return tree;
}

/** The checksum of each file: comparing megabytes one by one is slow. */
export function digests(files: Record<string, Buffer>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(files)
      .map(([name, bytes]) => [name, sha256(bytes)])
      .sort(),
  );
}

/** The same of the files that a model's folder shows, read through its links. */
export async function digestsIn(folder: string): Promise<Record<string, string>> {
  const names = await readdir(folder);
  return digests(
    Object.fromEntries(
      await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name))] as const)),
    ),
  );
}
