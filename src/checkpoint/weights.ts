import { Zo2Error } from "../base/errors.js";
import { rowsOf, type Parameter } from "../ops/parameter.js";
import { BLOCK, BYTES_OF, type FloatType, floatOf, isBlocked, type WireType } from "../base/dtype.js";
import type { BlockedRows, HostBytes, WeightStore } from "../device/store.js";
import type { TensorSlice, Unit } from "../memory/units.js";
import type { Checkpoint } from "./checkpoint.js";
import { FLOAT_SOURCES, type FloatSource } from "./float-sources.js";
import { type Aliases, requireTensor } from "./names.js";
import { TensorHashes } from "./tensor-hashes.js";
import type { TensorDtype, TensorEntry } from "./safetensors.js";
import type { TensorSource } from "./writer.js";

/** Source bytes that are in memory at once while weights are read or written. */
const PIECE_BYTES = 8 * 2 ** 20;

export const STORED_AS: Readonly<Record<FloatType, TensorDtype>> = { fp32: "F32", fp16: "F16", bf16: "BF16" };

/** What stands beside an 8-bit weight that has to be multiplied by it. */
const SCALES = ["_scale_inv", "_scale"];

/**
 * The dtype in which a checkpoint stores its matrices, most of their weights where it has several, or the narrowest
 * that holds their values: bf16 for 8-bit floats, fp32 for fp64. Throws ZO2_ERR_CHECKPOINT when it is none that can be
 * read.
 */
export function storedType(
  checkpoint: Checkpoint,
  parameters: readonly Parameter[],
  prefixes: readonly string[],
  aliases?: Aliases,
): FloatType {
  const matrices = parameters.filter((p) => p.shape.length > 1);
  const weights = new Map<FloatType, number>();
  for (const { name, count } of matrices.length > 0 ? matrices : parameters.slice(0, 1)) {
    const { stored } = floatSource(checkpoint, requireTensor(checkpoint, name, prefixes, aliases));
    weights.set(stored, (weights.get(stored) ?? 0) + count);
  }
  const most = Math.max(...weights.values());
  return [...weights].find(([, count]) => count === most)?.[0] ?? "fp32";
}

/** The matrices that are stored in another dtype than `wire`, with theirs. */
export function otherTypes(
  checkpoint: Checkpoint,
  entries: ReadonlyMap<Parameter, TensorEntry>,
  wire: WireType,
): ReadonlyMap<Parameter, FloatType> {
  const others = new Map<Parameter, FloatType>();
  for (const [parameter, entry] of entries) {
    const { stored } = floatSource(checkpoint, entry);
    if (parameter.shape.length > 1 && stored !== wire) others.set(parameter, stored);
  }
  return others;
}

function floatSource(checkpoint: Pick<Checkpoint, "dir" | "tensors">, entry: TensorEntry): FloatSource {
  const fail = (what: string) =>
    new Zo2Error(
      "ZO2_ERR_CHECKPOINT",
      `${checkpoint.dir}: tensor ${JSON.stringify(entry.name)} is stored as ${entry.dtype}${what}`,
    );
  const source = FLOAT_SOURCES[entry.dtype];
  if (source === undefined) throw fail(`; ${Object.keys(FLOAT_SOURCES).join(", ")} can be read`);
  const scale =
    source.bytes === 1 ? SCALES.map((end) => entry.name + end).find((name) => checkpoint.tensors.has(name)) : undefined;
  if (scale !== undefined)
    throw fail(` with the scales ${JSON.stringify(scale)}, which are not applied; convert the model to bf16 first`);
  return source;
}

/**
 * Finds every parameter and checks its dtype and shape. `aliases` has the other names of tied tensors. Throws
 * ZO2_ERR_CHECKPOINT naming the first that is missing or different.
 */
export function checkTensors(
  checkpoint: Checkpoint,
  parameters: readonly Parameter[],
  prefixes: readonly string[],
  aliases?: Aliases,
): ReadonlyMap<Parameter, TensorEntry> {
  const found = new Map<Parameter, TensorEntry>();
  for (const parameter of parameters) {
    const entry = requireTensor(checkpoint, parameter.name, prefixes, aliases);
    floatSource(checkpoint, entry);
    if (entry.shape.join() !== parameter.shape.join()) {
      throw new Zo2Error(
        "ZO2_ERR_CHECKPOINT",
        `${checkpoint.dir}: tensor ${JSON.stringify(entry.name)} has the shape [${entry.shape.join(", ")}], ` +
          `config.json asks for [${parameter.shape.join(", ")}]`,
      );
    }
    found.set(parameter, entry);
  }
  return found;
}

/** Whatever weights are read from. */
export type WeightReader = Pick<Checkpoint, "dir" | "tensors" | "read">;

export interface LoadWeightsOptions {
  readonly signal?: AbortSignal | undefined;
  /** Whether the store knows the files of these weights: what rests on disk may rest there. @default false */
  readonly isBase?: boolean;
}

/**
 * Reads a checkpoint into the store, unit by unit, in pieces, converting to the wire dtypes, and takes the fingerprint
 * of every tensor's stored bytes meanwhile. Throws ZO2_ERR_CHECKPOINT for values that are not finite.
 */
export async function loadWeights(
  store: WeightStore,
  units: readonly Unit[],
  checkpoint: WeightReader,
  entries: ReadonlyMap<Parameter, TensorEntry>,
  { signal, isBase = false }: LoadWeightsOptions = {},
): Promise<ReadonlyMap<Parameter, string>> {
  const hashes = new TensorHashes();
  const piece = new Uint8Array(PIECE_BYTES);
  for (const unit of units) {
    const fill = async (memory: HostBytes) => {
      for (const tensor of unit.tensors) {
        if (signal?.aborted === true)
          throw new Zo2Error("ZO2_ERR_ABORTED", `${checkpoint.dir}: loading was stopped`, { cause: signal.reason });
        const entry = entries.get(tensor.parameter);
        if (entry === undefined) throw new Error(`${tensor.parameter.name} was not looked for in the checkpoint`);
        await loadSlice(store, checkpoint, entry, tensor, memory, piece, hashes);
      }
    };
    await (isBase ? store.writeStored(unit.index, fill) : store.write(unit.index, fill));
  }
  return hashes.finish();
}

async function loadSlice(
  store: WeightStore,
  checkpoint: WeightReader,
  entry: TensorEntry,
  tensor: TensorSlice,
  memory: HostBytes,
  piece: Uint8Array,
  hashes: TensorHashes,
): Promise<void> {
  const source = floatSource(checkpoint, entry);
  const first = tensor.rowStart * rowsOf(tensor.parameter).width;
  const perPiece = Math.floor(piece.byteLength / Math.max(source.bytes, BYTES_OF[source.type]));
  const wide = source.widen === undefined ? undefined : new Float32Array(Math.min(perPiece, tensor.count));
  for (let done = 0, count = 0; done < tensor.count; done += count) {
    count = pieceOf(tensor, done, perPiece);
    const stored = piece.subarray(0, count * source.bytes);
    await checkpoint.read(entry, (first + done) * source.bytes, stored);
    let bytes = stored;
    if (wide !== undefined) {
      source.widen?.(stored, wide);
      bytes = new Uint8Array(wide.buffer, 0, count * BYTES_OF[source.type]);
    }
    // This thread hashes while another converts.
    const [bad] = await Promise.all([
      putElements(store, bytes, source.type, tensor, memory, done, count),
      hashes.add(tensor.parameter, first + done, count, stored),
    ]);
    if (bad >= 0) throw notFinite(checkpoint, entry, first + done + bad, tensor.wire);
  }
}

/** Elements from `done` on that one piece of at most `most` has: where they rest in blocks, whole ones. */
function pieceOf({ wire, count, rowCount }: TensorSlice, done: number, most: number): number {
  if (!isBlocked(wire)) return Math.min(most, count - done);
  const width = count / rowCount;
  const left = width - (done % width);
  if (left === width && width <= most) return Math.min(Math.floor(most / width) * width, count - done);
  return left <= most ? left : Math.floor(most / BLOCK) * BLOCK;
}

/** Where a slice lies that rests in blocks, in the wire bytes of its unit; null for one that does not. */
function blocksOf(tensor: TensorSlice, memory: HostBytes): BlockedRows | null {
  const { wire, wireOffset, scaleOffset, count, rowCount } = tensor;
  if (!isBlocked(wire)) return null;
  const offsets = { offset: memory.offset + wireOffset, scaleOffset: memory.offset + scaleOffset };
  return { buffer: memory.buffer, ...offsets, type: wire, width: count / rowCount };
}

/** Elements of a slice from `first` on, in its wire dtype. */
function putElements(
  store: WeightStore,
  bytes: Uint8Array,
  type: FloatType,
  tensor: TensorSlice,
  memory: HostBytes,
  first: number,
  count: number,
): Promise<number> {
  const { wire, wireOffset } = tensor;
  const blocks = blocksOf(tensor, memory);
  if (blocks !== null) return store.quantise(bytes, type, blocks, first, count);
  const target = { buffer: memory.buffer, offset: memory.offset + wireOffset + first * BYTES_OF[wire] };
  return store.convert(bytes, type, target, floatOf(wire), count);
}

function notFinite(checkpoint: Pick<Checkpoint, "dir">, entry: TensorEntry, index: number, wire: WireType): Zo2Error {
  const narrowing =
    entry.dtype !== STORED_AS[floatOf(wire)] && wire === "fp16"
      ? `, or does not fit in ${wire} (choose bf16 or fp32 as option "offload.wire")`
      : "";
  const rounding = entry.dtype === "F64" && narrowing === "" ? ", or does not fit in fp32" : "";
  const name = JSON.stringify(entry.name);
  return new Zo2Error(
    "ZO2_ERR_CHECKPOINT",
    `${checkpoint.dir}: tensor ${name} (${entry.file}): element ${index} is not a finite ` +
      `number${narrowing}${rounding}; get the file again`,
  );
}

/**
 * The store's tensors as a writer takes them; `dtype` for all, or each in its wire dtype, or for one in blocks bf16,
 * which loses no bit.
 */
export function weightSources(
  store: WeightStore,
  units: readonly Unit[],
  parameters: readonly Parameter[],
  dtype: FloatType | "wire",
): TensorSource[] {
  return parameters.map((parameter) => {
    const slices = units.flatMap((unit) =>
      unit.tensors.filter((t) => t.parameter === parameter).map((tensor) => ({ unit: unit.index, tensor })),
    );
    const wire = slices[0]?.tensor.wire ?? "fp32";
    const target = dtype === "wire" ? floatOf(wire) : dtype;
    return {
      name: parameter.name,
      dtype: STORED_AS[target],
      shape: parameter.shape,
      bytes: parameter.count * BYTES_OF[target],
      read: async (offset, into) => {
        const begin = offset / BYTES_OF[target];
        const end = begin + into.byteLength / BYTES_OF[target];
        for (const { unit, tensor } of slices) {
          const start = tensor.rowStart * rowsOf(parameter).width;
          const from = Math.max(begin, start);
          const to = Math.min(end, start + tensor.count);
          if (from >= to) continue;
          const part = into.subarray((from - begin) * BYTES_OF[target], (to - begin) * BYTES_OF[target]);
          await store.read(unit, (memory) => readSlice(store, memory, tensor, from - start, part, target));
        }
      },
    };
  });
}

/**
 * Puts other values in the place of a slice's, some whole rows after another, in host memory that holds the wire bytes
 * of its unit.
 * @param change gets the rows from `first` of the parameter on, widened to fp32, and leaves in them what takes their
 *   place; it is rounded to nearest even where the wire dtype is narrower. Throws ZO2_ERR_NOT_FINITE where that is no
 *   finite number.
 */
export async function changeSlice(
  store: WeightStore,
  tensor: TensorSlice,
  memory: HostBytes,
  change: (rows: Float32Array, first: number) => void,
): Promise<void> {
  const { parameter, rowStart, count, rowCount, wire } = tensor;
  const width = count / rowCount;
  const perPiece = width * Math.max(1, Math.floor(PIECE_BYTES / BYTES_OF.fp32 / width));
  for (let done = 0; done < count; done += perPiece) {
    const rows = new Float32Array(Math.min(perPiece, count - done));
    const bytes = new Uint8Array(rows.buffer);
    await readSlice(store, memory, tensor, done, bytes, "fp32");
    change(rows, rowStart + done / width);
    const bad = await putElements(store, bytes, "fp32", tensor, memory, done, rows.length);
    if (bad >= 0)
      throw new Zo2Error(
        "ZO2_ERR_NOT_FINITE",
        `${parameter.name}: element ${rowStart * width + done + bad} would be no finite number of ${wire}`,
      );
  }
}

async function readSlice(
  store: WeightStore,
  memory: HostBytes,
  tensor: TensorSlice,
  from: number,
  into: Uint8Array,
  target: FloatType,
): Promise<void> {
  const count = into.byteLength / BYTES_OF[target];
  const wireBytes = BYTES_OF[tensor.wire];
  const offset = memory.offset + tensor.wireOffset + from * wireBytes;
  if (tensor.wire === target) return memory.buffer.read(offset, into);
  const blocks = blocksOf(tensor, memory);
  const convertTo = (converted: HostBytes) => {
    if (blocks !== null) return store.dequantise(blocks, from, converted, target, count);
    const source = new Uint8Array(count * wireBytes);
    memory.buffer.read(offset, source);
    return store.convert(source, floatOf(tensor.wire), converted, target, count);
  };
  await store.withHostMemory(into.byteLength, async (converted) => {
    const bad = await convertTo(converted);
    if (bad >= 0) {
      const element = tensor.rowStart * rowsOf(tensor.parameter).width + from + bad;
      throw new Zo2Error(
        "ZO2_ERR_NOT_FINITE",
        `${tensor.parameter.name}: element ${element} does not fit in ${target}; save as fp32 or bf16`,
      );
    }
    converted.buffer.read(converted.offset, into);
  });
}
