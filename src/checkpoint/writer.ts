import { copyFile, open, stat, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { Zo2Error } from "../base/errors.js";
import { CONFIG_FILE, INDEX_FILE, WEIGHTS_FILE } from "./checkpoint.js";
import { errnoOf } from "../base/guards.js";
import { ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE, COMPANION_FILES } from "./folder-files.js";
import { replaceFolder } from "./replace.js";
import { LENGTH_BYTES, tensorBytes, type TensorDtype } from "./safetensors.js";

/** Bytes held in memory while a tensor is written. */
const PIECE_BYTES = 8 * 2 ** 20;

/** Shards as Hugging Face tools cut them by default. */
const DEFAULT_SHARD_BYTES = 5_000_000_000;

/** A tensor to write: `read` fills `into` with its bytes from byte `offset` on, row-major, little-endian. */
export interface TensorSource {
  readonly name: string;
  readonly dtype: TensorDtype;
  readonly shape: readonly number[];
  readonly bytes: number;
  read(offset: number, into: Uint8Array): Promise<void>;
}

export interface WriteOptions {
  /** In the order in which they are to stand. Collected before the first byte is read; their bytes are not. */
  readonly tensors: Iterable<TensorSource> | AsyncIterable<TensorSource>;
  /** Becomes `config.json`. */
  readonly config: object;
  /** A model folder whose tokenizer files and other small files are copied. */
  readonly copyFrom?: string;
  /** Small files that stand beside them, by name; called when every tensor has been read. */
  readonly also?: (() => Readonly<Record<string, string>>) | undefined;
  /** Bytes of tensors in one file at most; a larger tensor gets a file of its own. @default 5 GB */
  readonly maxShardBytes?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

interface Shard {
  readonly tensors: TensorSource[];
  bytes: number;
}

/**
 * Writes a Hugging Face folder: safetensors (with an index where it takes several files), `config.json`, and the small
 * files of `copyFrom`. The folder appears whole or not at all, and an older model there is replaced only then. Throws
 * `ZO2_ERR_IO` (a full disk names the bytes needed), `ZO2_ERR_ABORTED`, or whatever a tensor's `read` throws; after
 * any of these `dir` is as it was.
 */
export async function writeCheckpoint(dir: string, options: WriteOptions): Promise<void> {
  const limit = options.maxShardBytes ?? DEFAULT_SHARD_BYTES;
  if (!Number.isSafeInteger(limit) || limit < 1)
    throw new Zo2Error("ZO2_ERR_INVALID_ARGUMENT", `maxShardBytes is ${limit}; it must be a positive integer`);
  checkAborted(dir, options.signal);
  const shards = cut(await collect(options.tensors), limit);
  const total = shards.reduce((sum, shard) => sum + shard.bytes, 0);
  await replaceFolder(dir, total, async (folder) => {
    await copyCompanions(options.copyFrom, folder);
    await writeText(join(folder, CONFIG_FILE), toJson(options.config));
    const piece = new Uint8Array(Math.min(PIECE_BYTES, Math.max(1, total)));
    const weightMap: Record<string, string> = {};
    for (const [i, shard] of shards.entries()) {
      const name = shardName(i, shards.length);
      for (const tensor of shard.tensors) weightMap[tensor.name] = name;
      await writeShard(join(folder, name), shard.tensors, piece, () => checkAborted(dir, options.signal));
    }
    if (shards.length > 1)
      await writeText(join(folder, INDEX_FILE), toJson({ metadata: { total_size: total }, weight_map: weightMap }));
    for (const [name, text] of Object.entries(options.also?.() ?? {})) await writeText(join(folder, name), text);
    checkAborted(dir, options.signal);
  });
}

/**
 * Writes the folder of an adapter as PEFT has it: one safetensors file and `adapter_config.json`, with the keys of
 * `config` in the order of their names. Whole or not at all, as `writeCheckpoint`; an older adapter there is replaced.
 */
export async function writeAdapterFolder(
  dir: string,
  options: Pick<WriteOptions, "tensors" | "also" | "signal"> & { readonly config: Readonly<Record<string, unknown>> },
): Promise<void> {
  const check = () => checkAborted(dir, options.signal);
  check();
  const tensors = await collect(options.tensors);
  const total = tensors.reduce((sum, { bytes }) => sum + bytes, 0);
  const fill = async (folder: string) => {
    const config = Object.fromEntries(Object.entries(options.config).sort(([a], [b]) => (a < b ? -1 : 1)));
    await writeText(join(folder, ADAPTER_CONFIG_FILE), toJson(config));
    const piece = new Uint8Array(Math.min(PIECE_BYTES, Math.max(1, total)));
    await writeShard(join(folder, ADAPTER_WEIGHTS_FILE), tensors, piece, check);
    for (const [name, text] of Object.entries(options.also?.() ?? {})) await writeText(join(folder, name), text);
    check();
  };
  await replaceFolder(dir, total, fill, "adapter");
}

function checkAborted(dir: string, signal: AbortSignal | undefined): void {
  if (signal?.aborted === true)
    throw new Zo2Error("ZO2_ERR_ABORTED", `${dir}: saving was stopped; nothing there was changed`, {
      cause: signal.reason,
    });
}

function toJson(value: object): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

async function collect(source: WriteOptions["tensors"]): Promise<TensorSource[]> {
  const tensors: TensorSource[] = [];
  const names = new Set<string>();
  for await (const tensor of source) {
    const fail = (what: string) =>
      new Zo2Error("ZO2_ERR_INVALID_ARGUMENT", `tensor ${JSON.stringify(tensor.name)}: ${what}`);
    if (tensor.name === "__metadata__" || tensor.name === "__proto__") throw fail("this name cannot be written");
    if (names.has(tensor.name)) throw fail("given twice");
    const needed = tensorBytes(tensor.dtype, tensor.shape);
    if (needed !== tensor.bytes)
      throw fail(
        `${tensor.bytes} bytes were given for shape [${tensor.shape.join(", ")}] of ${tensor.dtype}, which ` +
          `needs ${needed}`,
      );
    names.add(tensor.name);
    tensors.push(tensor);
  }
  return tensors;
}

function cut(tensors: readonly TensorSource[], limit: number): Shard[] {
  let shard: Shard = { tensors: [], bytes: 0 };
  const shards = [shard];
  for (const tensor of tensors) {
    if (shard.tensors.length > 0 && shard.bytes + tensor.bytes > limit) {
      shard = { tensors: [], bytes: 0 };
      shards.push(shard);
    }
    shard.tensors.push(tensor);
    shard.bytes += tensor.bytes;
  }
  return shards;
}

function shardName(index: number, count: number): string {
  const number = (n: number) => String(n).padStart(5, "0");
  return count === 1 ? WEIGHTS_FILE : `model-${number(index + 1)}-of-${number(count)}.safetensors`;
}

/** The length and the JSON part, with spaces behind it so that the data begins at a multiple of 8. */
function encodeHeader(tensors: readonly TensorSource[]): Uint8Array {
  const entries: Record<string, unknown> = { __metadata__: { format: "pt" } };
  let offset = 0;
  for (const { name, dtype, shape, bytes } of tensors) {
    entries[name] = { dtype, shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  const json = new TextEncoder().encode(JSON.stringify(entries));
  const length = Math.ceil(json.byteLength / 8) * 8;
  const header = new Uint8Array(LENGTH_BYTES + length).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(json, LENGTH_BYTES);
  return header;
}

async function writeShard(
  path: string,
  tensors: readonly TensorSource[],
  piece: Uint8Array,
  checkpoint: () => void,
): Promise<void> {
  await withFile(path, "wx", async (file) => {
    await writeAll(file, encodeHeader(tensors));
    for (const tensor of tensors) {
      for (let offset = 0; offset < tensor.bytes; offset += piece.byteLength) {
        checkpoint();
        const part = piece.subarray(0, Math.min(piece.byteLength, tensor.bytes - offset));
        await tensor.read(offset, part);
        await writeAll(file, part);
      }
    }
  });
}

async function writeText(path: string, text: string): Promise<void> {
  await withFile(path, "wx", (file) => writeAll(file, new TextEncoder().encode(text)));
}

/** Opens, uses and closes; what was written is on the disk when this returns. */
async function withFile(path: string, flags: "wx" | "r", use: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await open(path, flags);
  try {
    await use(file);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** A full disk first shows as a short write; only the next one fails. */
async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  let done = 0;
  while (done < bytes.byteLength) done += (await file.write(bytes, done, bytes.byteLength - done)).bytesWritten;
}

async function copyCompanions(from: string | undefined, folder: string): Promise<void> {
  if (from === undefined) return;
  if (!(await stat(from).catch(() => undefined))?.isDirectory())
    throw new Zo2Error("ZO2_ERR_IO", `${from}: no such folder to copy the tokenizer from`);
  for (const name of COMPANION_FILES) {
    const path = join(folder, name);
    try {
      await copyFile(join(from, name), path);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") continue;
      throw error;
    }
    await withFile(path, "r", async () => undefined);
  }
}
