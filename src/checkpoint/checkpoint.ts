import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { Zo2Error } from "../base/errors.js";
import { exists, readJsonFile } from "../base/files.js";
import { isRecord } from "../base/guards.js";
import { headerLength, LENGTH_BYTES, parseHeader, type TensorEntry } from "./safetensors.js";
import { broken, type FileSource, openSource, type OpenSource } from "./source.js";
import { readStrided } from "./strided.js";
import { readTorchFile } from "./torch-file.js";

export type { TensorDtype, TensorEntry } from "./safetensors.js";

export const WEIGHTS_FILE = "model.safetensors";
export const INDEX_FILE = "model.safetensors.index.json";
export const TORCH_WEIGHTS_FILE = "pytorch_model.bin";
export const TORCH_INDEX_FILE = "pytorch_model.bin.index.json";
export const CONFIG_FILE = "config.json";

/** Reads what a file of weights says of its tensors. */
type ReadTensors = (file: FileSource) => Promise<readonly TensorEntry[]>;

/** The forms of weights, the preferred one first, as Hugging Face tools look for them. */
const FORMS: readonly { readonly weights: string; readonly index: string; readonly read: ReadTensors }[] = [
  { weights: WEIGHTS_FILE, index: INDEX_FILE, read: readSafetensors },
  { weights: TORCH_WEIGHTS_FILE, index: TORCH_INDEX_FILE, read: readTorchFile },
];

/** In what an index and its shards do not agree. */
export interface CheckpointIndex {
  readonly path: string;
  /** Tensors that are not where the index says, by name, and why. */
  readonly absent: ReadonlyMap<string, string>;
  /** Tensors that a shard has and the index does not name; they are among the checkpoint's. */
  readonly unnamed: readonly string[];
}

/** What a folder's files of weights hold. */
interface Contents {
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly index: CheckpointIndex | null;
}

/** Open files of tensors: what they hold, and ranged reads of their bytes. Close it when done. */
export interface OpenTensors extends AsyncDisposable {
  /** The folder, or the one file. */
  readonly dir: string;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /**
   * Fills `into` with the row-major bytes of `entry` from byte `offset` on, however its file has them. Reads may run
   * side by side.
   * Throws `ZO2_ERR_INVALID_ARGUMENT` for a range outside the tensor, `ZO2_ERR_CHECKPOINT` when the file has become
   * shorter, `ZO2_ERR_DISPOSED` after `close`, `ZO2_ERR_IO` when the system fails.
   */
  read(entry: TensorEntry, offset: number, into: Uint8Array): Promise<void>;
  /**
   * Throws `ZO2_ERR_CHECKPOINT` where the names of its files lead to others by now, or to changed ones: whoever opened
   * them by name as well may have them, and not what was read.
   */
  checkUnchanged(): Promise<void>;
  /** Waits for reads under way, then closes the files. A second call does nothing. */
  close(): Promise<void>;
}

/** An open Hugging Face folder. */
export interface Checkpoint extends OpenTensors {
  /** The parsed `config.json`. */
  readonly config: unknown;
  /** Where the tensors come from that have an index; null for those of one file. */
  readonly index: CheckpointIndex | null;
}

/**
 * Opens the folder `dir`: `config.json` and `model.safetensors`, or `model.safetensors.index.json` with its shards, or
 * else `pytorch_model.bin`, or its index with its shards. Every header or pickle is checked; no weight is read. What an
 * index names and no shard has is `absent`, for whoever needs it to refuse. Throws `ZO2_ERR_CHECKPOINT` naming the file
 * and the tensor, or `ZO2_ERR_IO`.
 */
export async function openCheckpoint(dir: string): Promise<Checkpoint> {
  const config = await readJsonFile(join(dir, CONFIG_FILE), "ZO2_ERR_CHECKPOINT");
  if (config === undefined) throw await missing(dir, CONFIG_FILE);
  if (!isRecord(config)) throw broken(join(dir, CONFIG_FILE), "not a JSON object");
  const files = new Map<string, OpenSource>();
  try {
    const { tensors, index } = await readTensors(dir, files);
    return Object.assign(new TensorFiles(dir, tensors, files), { config, index });
  } catch (error) {
    await closeAll(files);
    throw error;
  }
}

/**
 * Opens one safetensors file; no tensor is read. Throws `ZO2_ERR_CHECKPOINT` naming the file and the tensor, or
 * `ZO2_ERR_IO`.
 */
export async function openTensors(path: string): Promise<OpenTensors> {
  const files = new Map<string, OpenSource>();
  try {
    return new TensorFiles(path, byName(await openShard(path, files, readSafetensors)), files);
  } catch (error) {
    await closeAll(files);
    throw error;
  }
}

async function readTensors(dir: string, files: Map<string, OpenSource>): Promise<Contents> {
  for (const { weights, index, read } of FORMS) {
    const path = join(dir, weights);
    if (await exists(path)) return { tensors: byName(await openShard(path, files, read)), index: null };
    const indexPath = join(dir, index);
    const parsed = await readJsonFile(indexPath, "ZO2_ERR_CHECKPOINT");
    if (parsed !== undefined) return readShards(dir, indexPath, weightMap(indexPath, parsed), files, read);
  }
  throw await missing(dir, WEIGHTS_FILE);
}

async function readShards(
  dir: string,
  path: string,
  places: readonly (readonly [string, string])[],
  files: Map<string, OpenSource>,
  read: ReadTensors,
): Promise<Contents> {
  const shards = new Map<string, ReadonlyMap<string, TensorEntry> | null>();
  for (const shard of [...new Set(places.map(([, name]) => name))].sort()) {
    const file = join(dir, shard);
    shards.set(shard, (await exists(file)) ? byName(await openShard(file, files, read)) : null);
  }
  const tensors = new Map<string, TensorEntry>();
  const absent = new Map<string, string>();
  for (const [name, shard] of places) {
    const entries = shards.get(shard) ?? null;
    const entry = entries?.get(name);
    if (entry !== undefined) tensors.set(name, entry);
    else if (entries === null) absent.set(name, `should be in ${shard}, which is missing; download it`);
    else absent.set(name, `is not in ${shard}, where the index says it is`);
  }
  const [first] = absent;
  // Some that nothing needs may be missing; where all are, the index is of other files.
  if (tensors.size === 0 && first !== undefined) throw broken(path, `tensor ${JSON.stringify(first[0])} ${first[1]}`);
  const unnamed = new Map<string, TensorEntry>();
  // Of two shards with one name the last counts, as for transformers, which reads them whole in this order.
  for (const entries of shards.values())
    for (const [name, entry] of entries ?? []) if (!tensors.has(name)) unnamed.set(name, entry);
  for (const [name, entry] of unnamed) {
    tensors.set(name, entry);
    absent.delete(name);
  }
  return { tensors, index: { path, absent, unnamed: [...unnamed.keys()] } };
}

function byName(entries: readonly TensorEntry[]): ReadonlyMap<string, TensorEntry> {
  return new Map(entries.map((entry) => [entry.name, entry]));
}

function weightMap(path: string, index: unknown): [string, string][] {
  const map = isRecord(index) ? index["weight_map"] : undefined;
  if (!isRecord(map)) throw broken(path, `weight_map is missing or not an object`);
  return Object.entries(map).map(([name, shard]) => {
    if (typeof shard !== "string") throw broken(path, `tensor ${JSON.stringify(name)}: its file is not a string`);
    if (
      shard === "" ||
      shard.startsWith(".") ||
      shard.includes("\0") ||
      shard.includes("\\") ||
      basename(shard) !== shard
    ) {
      throw broken(
        path,
        `tensor ${JSON.stringify(name)}: ${JSON.stringify(shard)} is not the name of a file in this folder`,
      );
    }
    return [name, shard];
  });
}

async function openShard(
  path: string,
  files: Map<string, OpenSource>,
  read: ReadTensors,
): Promise<readonly TensorEntry[]> {
  const file = await openSource(path);
  files.set(path, file);
  return read(file);
}

async function readSafetensors(file: FileSource): Promise<readonly TensorEntry[]> {
  const head = new Uint8Array(Math.min(LENGTH_BYTES, file.bytes));
  await file.read(0, head);
  const json = new Uint8Array(headerLength(file.path, head, file.bytes));
  await file.read(LENGTH_BYTES, json);
  return parseHeader(file.path, json, file.bytes).tensors;
}

/** The error for a folder without `file`: says whether the folder itself is missing. */
async function missing(dir: string, file: string): Promise<Zo2Error> {
  const info = await stat(dir).catch(() => undefined);
  if (info === undefined) return broken(dir, "there is no such folder; give the folder of a model");
  if (!info.isDirectory())
    return broken(dir, `not a folder; give the folder that holds ${CONFIG_FILE} and ${WEIGHTS_FILE}`);
  if (file === CONFIG_FILE)
    return broken(dir, `has no ${CONFIG_FILE}; give the folder of a model in Hugging Face form`);
  return broken(
    dir,
    `has no ${FORMS.map(({ weights, index }) => `${weights}, ${index}`).join(", ")}; give the folder that ` +
      "holds the weights",
  );
}

async function closeAll(files: ReadonlyMap<string, OpenSource>): Promise<void> {
  await Promise.allSettled([...files.values()].map((file) => file.close()));
}

class TensorFiles implements OpenTensors {
  private closed: Promise<void> | undefined;
  private readonly reads = new Set<Promise<void>>();

  constructor(
    readonly dir: string,
    readonly tensors: ReadonlyMap<string, TensorEntry>,
    private readonly files: ReadonlyMap<string, OpenSource>,
  ) {}

  async read(entry: TensorEntry, offset: number, into: Uint8Array): Promise<void> {
    if (this.closed !== undefined) throw new Zo2Error("ZO2_ERR_DISPOSED", `checkpoint ${this.dir}: read after close`);
    const file = this.files.get(entry.file);
    if (file === undefined || this.tensors.get(entry.name) !== entry) {
      throw new Zo2Error(
        "ZO2_ERR_INVALID_ARGUMENT",
        `tensor ${JSON.stringify(entry.name)} is not an entry of the checkpoint ${this.dir}`,
      );
    }
    if (!Number.isSafeInteger(offset) || offset < 0 || into.byteLength > entry.bytes - offset) {
      throw new Zo2Error(
        "ZO2_ERR_INVALID_ARGUMENT",
        `tensor ${JSON.stringify(entry.name)}: ${into.byteLength} bytes from byte ${offset} are not all within ` +
          `its ${entry.bytes}`,
      );
    }
    const work =
      entry.strides === undefined
        ? file.read(entry.offset + offset, into)
        : readStrided(file, entry, entry.strides, offset, into);
    this.reads.add(work);
    try {
      await work;
    } finally {
      this.reads.delete(work);
    }
  }

  async checkUnchanged(): Promise<void> {
    for (const file of this.files.values())
      if (!(await file.unchanged()))
        throw broken(file.path, "changed while it was being loaded; load it again once it is whole");
  }

  close(): Promise<void> {
    // A read in several parts must not find its file closed between two of them.
    this.closed ??= Promise.allSettled(this.reads).then(() => closeAll(this.files));
    return this.closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
