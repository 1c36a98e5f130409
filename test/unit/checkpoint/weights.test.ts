/** Tensors larger than one piece, whole and in slices: into memory at rest, and back. */
import { join } from "node:path";
import type { FloatType } from "../../../src/base/dtype.js";
import { openCheckpoint, writeCheckpoint, type TensorDtype } from "../../../src/checkpoint/index.js";
import { checkTensors, loadWeights, weightSources } from "../../../src/checkpoint/weights.js";
import type { WeightStore } from "../../../src/device/store.js";
import type { TensorSlice, Unit } from "../../../src/memory/units.js";
import { numberParameters } from "../../../src/ops/parameter.js";
import { cleanUp, failure, temporaryFolder } from "./support.js";

afterAll(cleanUp);

const PIECE_BYTES = 8 * 2 ** 20;
const WIDTH = 1024;
/** 22 MiB in fp32 and 5.5 MiB in 8 bits, of which a piece has 4 Mi elements. */
const ROWS = 5632;
const parameters = numberParameters([
  { name: "small", shape: [33], decay: false },
  { name: "large", shape: [ROWS, WIDTH], decay: true },
]);
const [small, large] = parameters;

// Looking a global up is slow inside jest, and there are millions of elements.
const { imul } = Math;

/** Elements from 0 to 7, which every dtype holds; no shift of the sequence is like it. */
const VALUES = new Float32Array(large.count);
for (let i = 0; i < VALUES.length; i++) VALUES[i] = imul(i + 1, 0x9e3779b1) >>> 29;

/** E4M3 of 0 to 7, by its definition. */
const E4M3 = [0, 0x38, 0x40, 0x44, 0x48, 0x4a, 0x4c, 0x4e];

function bf16(values: Float32Array): Uint16Array {
  const words = new Uint16Array(values.buffer, values.byteOffset, 2 * values.length);
  const upper = new Uint16Array(values.length);
  for (let i = 0; i < upper.length; i++) upper[i] = words[2 * i + 1];
  return upper;
}

function e4m3(values: Float32Array): Uint8Array {
  const narrow = new Uint8Array(values.length);
  for (let i = 0; i < narrow.length; i++) narrow[i] = E4M3[values[i]];
  return narrow;
}

const STORED: Partial<Record<TensorDtype, (values: Float32Array) => Float32Array | Uint16Array | Uint8Array>> = {
  F32: (values) => values,
  BF16: bf16,
  F8_E4M3: e4m3,
};
const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView) => Buffer.from(buffer, byteOffset, byteLength);

class Memory {
  constructor(readonly content: Uint8Array) {}
  read(offset: number, into: Uint8Array): void {
    into.set(this.content.subarray(offset, offset + into.length));
  }
}
interface Target {
  readonly buffer: Memory;
  readonly offset: number;
}

function floats(bytes: Uint8Array, type: FloatType): Float32Array {
  const { buffer } = bytes.slice();
  if (type === "fp32") return new Float32Array(buffer);
  const words = new Uint16Array(buffer);
  const wide = new Uint16Array(2 * words.length);
  for (let i = 0; i < words.length; i++) wide[2 * i + 1] = words[i];
  return new Float32Array(wide.buffer);
}

/** A store whose memory is JavaScript's; what it converts is exact in fp32 and bf16. */
function memoryStore(units: readonly Unit[]): WeightStore {
  const rest = units.map(({ wireBytes }) => new Memory(new Uint8Array(wireBytes)));
  const store = {
    write: (unit: number, fill: (memory: Target) => Promise<void>) => fill({ buffer: rest[unit], offset: 0 }),
    read: (unit: number, use: (memory: Target) => Promise<void>) => use({ buffer: rest[unit], offset: 0 }),
    withHostMemory: (bytes: number, body: (memory: Target) => Promise<void>) =>
      body({ buffer: new Memory(new Uint8Array(bytes)), offset: 0 }),
    convert: (source: Uint8Array, from: FloatType, to: Target, type: FloatType, count: number) => {
      const values = floats(source, from);
      const converted = type === "fp32" ? values : bf16(values);
      if (converted.length !== count) throw new Error(`${converted.length} elements for ${count}`);
      to.buffer.content.set(new Uint8Array(converted.buffer, 0, converted.byteLength), to.offset);
      return Promise.resolve(values.indexOf(Infinity));
    },
  };
  return store as unknown as WeightStore;
}

/** Units that end at these rows of the large tensor, one behind the other; the small one is the first's. */
function unitsOf(ends: readonly number[], wire: FloatType): Unit[] {
  const width = wire === "fp32" ? 4 : 2;
  return ends.map((end, index) => {
    const rowStart = ends[index - 1] ?? 0;
    const count = (end - rowStart) * WIDTH;
    const first = { parameter: small, rowStart: 0, count: small.count, wire: "fp32", wireOffset: 64 };
    const wireOffset = 256;
    const slice = { parameter: large, rowStart, count, wire, wireOffset };
    const tensors = (index === 0 ? [first, slice] : [slice]) as unknown as TensorSlice[];
    return { index, tensors, wireBytes: wireOffset + count * width } as unknown as Unit;
  });
}

async function checkpointOf(dtype: TensorDtype, values = VALUES) {
  const dir = join(await temporaryFolder(), "model");
  const tensors = parameters.map((p) => {
    const content = bytesOf(STORED[dtype]!((p === large ? values : VALUES).slice(0, p.count)));
    return {
      ...{ name: p.name, dtype, shape: p.shape, bytes: content.length },
      read: async (offset: number, into: Uint8Array) => void content.copy(into, 0, offset, offset + into.byteLength),
    };
  });
  await writeCheckpoint(dir, { tensors, config: {} });
  return openCheckpoint(dir);
}

/** Whether what a source gives, in windows of so many bytes, is what was stored: each tensor by its name. */
async function same(store: WeightStore, units: readonly Unit[], dtype: FloatType | "wire", window: number) {
  const found: Record<string, boolean> = {};
  for (const [p, source] of weightSources(store, units, parameters, dtype).entries()) {
    const bytes = new Uint8Array(source.bytes);
    for (let at = 0; at < bytes.length; at += window)
      await source.read(at, bytes.subarray(at, Math.min(at + window, bytes.length)));
    const want = bytesOf(STORED[source.dtype]!(VALUES.slice(0, parameters[p].count)));
    found[source.name] = want.equals(bytes);
  }
  return found;
}

const CUTS: [string, number[]][] = [
  ["whole", [ROWS]],
  ["in slices of more and of less than a piece", [2500, 2501, 5000, ROWS]],
];
const DTYPES: [TensorDtype, FloatType][] = [
  ["F32", "fp32"],
  ["F32", "bf16"],
  ["BF16", "fp32"],
  ["F8_E4M3", "bf16"],
];

describe.each(CUTS)("a tensor of several pieces, %s,", (_, ends) => {
  it.each(DTYPES)("stored as %s and resting in %s, has every element in its place, there and back", async (...of) => {
    const [dtype, wire] = of;
    await using checkpoint = await checkpointOf(dtype);
    const units = unitsOf(ends, wire);
    const store = memoryStore(units);
    await loadWeights(store, units, checkpoint, checkTensors(checkpoint, parameters, [""]));
    const all = { small: true, large: true };
    expect(await same(store, units, "wire", PIECE_BYTES)).toEqual(all);
    // A window that begins and ends in the middle of rows, of slices, and of pieces.
    expect(await same(store, units, "fp32", 3 * 2 ** 20 + 20)).toEqual(all);
    expect(await same(store, units, "bf16", PIECE_BYTES - 2)).toEqual(all);
  });

  it("says which of its elements is not finite, counted from its beginning", async () => {
    const index = 3_000_017;
    const values = VALUES.slice();
    values[index] = Infinity;
    await using checkpoint = await checkpointOf("F32", values);
    const units = unitsOf(ends, "fp32");
    const entries = checkTensors(checkpoint, parameters, [""]);
    await expect(loadWeights(memoryStore(units), units, checkpoint, entries)).rejects.toThrow(
      failure("ZO2_ERR_CHECKPOINT", `element ${index} is not a finite number`),
    );
  });

  it("says which of its elements does not fit in the dtype that is saved, counted from its beginning", async () => {
    const index = 3_000_017;
    await using checkpoint = await checkpointOf("F32");
    const units = unitsOf(ends, "fp32");
    const store = memoryStore(units);
    await loadWeights(store, units, checkpoint, checkTensors(checkpoint, parameters, [""]));
    const row = Math.floor(index / WIDTH);
    const unit = units.find((_, u) => row < ends[u])!;
    const slice = unit.tensors.find(({ parameter }) => parameter === large)!;
    await store.write(unit.index, async (memory) => {
      const { content } = memory.buffer as unknown as Memory;
      new DataView(content.buffer).setFloat32(slice.wireOffset + 4 * (index - slice.rowStart * WIDTH), Infinity, true);
    });
    await expect(same(store, units, "bf16", 3 * 2 ** 20 + 20)).rejects.toThrow(
      failure("ZO2_ERR_NOT_FINITE", `large: element ${index} does not fit in bf16`),
    );
    expect(await same(store, units, "wire", PIECE_BYTES)).toEqual({ small: true, large: false });
  });
});

it("loading stops between tensors when it is told to", async () => {
  await using checkpoint = await checkpointOf("BF16");
  const units = unitsOf([ROWS], "fp32");
  const entries = checkTensors(checkpoint, parameters, [""]);
  const signal = AbortSignal.abort(new Error("enough"));
  await expect(loadWeights(memoryStore(units), units, checkpoint, entries, { signal })).rejects.toMatchObject({
    code: "ZO2_ERR_ABORTED",
    cause: signal.reason,
  });
});
