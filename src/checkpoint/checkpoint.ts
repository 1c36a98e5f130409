import { open, stat, type FileHandle } from "node:fs/promises";
import { basename, join } from "node:path";
import { Zo2Error } from "../errors.js";
import { errnoOf, isRecord, messageOf, readJsonFile } from "./files.js";
import { headerLength, LENGTH_BYTES, parseHeader, type SafetensorsHeader, type TensorEntry } from "./safetensors.js";

export type { TensorDtype, TensorEntry } from "./safetensors.js";

export const WEIGHTS_FILE = "model.safetensors";
export const INDEX_FILE = "model.safetensors.index.json";
export const CONFIG_FILE = "config.json";
const PICKLED = ["pytorch_model.bin", "pytorch_model.bin.index.json"];

/** One system call moves at most this many bytes: Linux stops a little below 2 GiB. */
const MAX_READ = 2 ** 30;

function broken(message: string): Zo2Error {
  return new Zo2Error("ZO2_ERR_CHECKPOINT", message);
}

/** An open Hugging Face folder: what tensors it holds, and ranged reads of their bytes. Close it when done. */
export interface Checkpoint extends AsyncDisposable {
  readonly dir: string;
  /** The parsed `config.json`. */
  readonly config: unknown;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /**
   * Fills `into` with the bytes of `entry` from byte `offset` on. Reads may run side by side.
   * Throws `ZO2_ERR_INVALID_ARGUMENT` for a range outside the tensor, `ZO2_ERR_CHECKPOINT` when the file has become
   * shorter, `ZO2_ERR_DISPOSED` after `close`, `ZO2_ERR_IO` when the system fails.
   */
  read(entry: TensorEntry, offset: number, into: Uint8Array): Promise<void>;
  /** Waits for reads under way, then closes the files. A second call does nothing. */
  close(): Promise<void>;
}

/**
 * Opens the folder `dir`: `config.json` and `model.safetensors`, or `model.safetensors.index.json` with its shards. Every
 * header is checked; no weight is read. Throws `ZO2_ERR_CHECKPOINT` naming the file and the tensor, or `ZO2_ERR_IO`.
 */
export async function openCheckpoint(dir: string): Promise<Checkpoint> {
  const config = await readJsonFile(join(dir, CONFIG_FILE), "ZO2_ERR_CHECKPOINT");
  if (config === undefined) throw await missing(dir, CONFIG_FILE);
  if (!isRecord(config)) throw broken(`${join(dir, CONFIG_FILE)}: not a JSON object`);
  const files = new Map<string, FileHandle>();
  try {
    const tensors = await readTensors(dir, files);
    return new OpenCheckpoint(dir, config, tensors, files);
  } catch (error) {
    await closeAll(files);
    throw error;
  }
}

async function readTensors(dir: string, files: Map<string, FileHandle>): Promise<Map<string, TensorEntry>> {
  const tensors = new Map<string, TensorEntry>();
  if (await exists(join(dir, WEIGHTS_FILE))) {
    const header = await openShard(join(dir, WEIGHTS_FILE), files);
    for (const entry of header.tensors) tensors.set(entry.name, entry);
    return tensors;
  }
  const indexPath = join(dir, INDEX_FILE);
  const index = await readJsonFile(indexPath, "ZO2_ERR_CHECKPOINT");
  if (index === undefined) throw await missing(dir, WEIGHTS_FILE);
  const shards = new Map<string, Map<string, TensorEntry>>();
  for (const [name, shard] of weightMap(indexPath, index)) {
    let entries = shards.get(shard);
    if (entries === undefined) {
      const path = join(dir, shard);
      if (!(await exists(path))) throw broken(`${indexPath}: tensor ${JSON.stringify(name)} should be in ${shard}, which is missing; download it`);
      const header = await openShard(path, files);
      entries = new Map(header.tensors.map((entry) => [entry.name, entry]));
      shards.set(shard, entries);
    }
    const entry = entries.get(name);
    if (entry === undefined) throw broken(`${indexPath}: tensor ${JSON.stringify(name)} is not in ${shard}, where the index says it is`);
    tensors.set(name, entry);
  }
  return tensors;
}

function weightMap(path: string, index: unknown): [string, string][] {
  const map = isRecord(index) ? index["weight_map"] : undefined;
  if (!isRecord(map)) throw broken(`${path}: weight_map is missing or not an object`);
  return Object.entries(map).map(([name, shard]) => {
    if (typeof shard !== "string") throw broken(`${path}: tensor ${JSON.stringify(name)}: its file is not a string`);
    if (shard === "" || shard.startsWith(".") || shard.includes("\0") || shard.includes("\\") || basename(shard) !== shard) {
      throw broken(`${path}: tensor ${JSON.stringify(name)}: ${JSON.stringify(shard)} is not the name of a file in this folder`);
    }
    return [name, shard];
  });
}

async function openShard(path: string, files: Map<string, FileHandle>): Promise<SafetensorsHeader> {
  let handle: FileHandle;
  let size: number;
  try {
    handle = await open(path, "r");
    files.set(path, handle);
    const info = await handle.stat();
    if (!info.isFile()) throw broken(`${path}: not a regular file`);
    size = info.size;
  } catch (error) {
    throw error instanceof Zo2Error ? error : unreadable(path, error);
  }
  const head = new Uint8Array(Math.min(LENGTH_BYTES, size));
  await readRange(handle, path, 0, head);
  const json = new Uint8Array(headerLength(path, head, size));
  await readRange(handle, path, LENGTH_BYTES, json);
  return parseHeader(path, json, size);
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
    if (bytesRead === 0) {
      throw broken(`${path}: ends at byte ${position + done}, ${into.byteLength - done} bytes early: it changed after it was opened`);
    }
    done += bytesRead;
  }
}

function unreadable(path: string, cause: unknown): Zo2Error {
  return new Zo2Error("ZO2_ERR_IO", `${path}: cannot be read: ${messageOf(cause)}`, { cause });
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENOTDIR") return false;
    throw unreadable(path, error);
  }
}

/** The error for a folder without `file`: says whether the folder itself, or only a form of weights that we read, is missing. */
async function missing(dir: string, file: string): Promise<Zo2Error> {
  const info = await stat(dir).catch(() => undefined);
  if (info === undefined) return broken(`${dir}: there is no such folder; give the folder of a model`);
  if (!info.isDirectory()) return broken(`${dir}: not a folder; give the folder that holds ${CONFIG_FILE} and ${WEIGHTS_FILE}`);
  if (file === CONFIG_FILE) return broken(`${dir}: has no ${CONFIG_FILE}; give the folder of a model in Hugging Face form`);
  for (const name of PICKLED) {
    if (await exists(join(dir, name))) {
      return broken(`${dir}: has ${name} only, and that is not supported yet; convert it to ${WEIGHTS_FILE} first`);
    }
  }
  return broken(`${dir}: has neither ${WEIGHTS_FILE} nor ${INDEX_FILE}`);
}

async function closeAll(files: ReadonlyMap<string, FileHandle>): Promise<void> {
  await Promise.allSettled([...files.values()].map((handle) => handle.close()));
}

class OpenCheckpoint implements Checkpoint {
  #closed: Promise<void> | undefined;

  constructor(
    readonly dir: string,
    readonly config: unknown,
    readonly tensors: ReadonlyMap<string, TensorEntry>,
    private readonly files: ReadonlyMap<string, FileHandle>,
  ) {}

  async read(entry: TensorEntry, offset: number, into: Uint8Array): Promise<void> {
    if (this.#closed !== undefined) throw new Zo2Error("ZO2_ERR_DISPOSED", `checkpoint ${this.dir}: read after close`);
    const handle = this.files.get(entry.file);
    if (handle === undefined || this.tensors.get(entry.name) !== entry) {
      throw new Zo2Error("ZO2_ERR_INVALID_ARGUMENT", `tensor ${JSON.stringify(entry.name)} is not an entry of the checkpoint ${this.dir}`);
    }
    if (!Number.isSafeInteger(offset) || offset < 0 || into.byteLength > entry.bytes - offset) {
      throw new Zo2Error(
        "ZO2_ERR_INVALID_ARGUMENT",
        `tensor ${JSON.stringify(entry.name)}: ${into.byteLength} bytes from byte ${offset} are not all within its ${entry.bytes}`,
      );
    }
    await readRange(handle, entry.file, entry.offset + offset, into);
  }

  close(): Promise<void> {
    this.#closed ??= closeAll(this.files);
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
