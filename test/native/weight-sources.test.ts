import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { loadNative } from "zo2/native";
import { openCheckpoint, writeCheckpoint, type TensorDtype } from "../../src/checkpoint/index.js";
import { checkTensors, loadWeights, storedType, weightSources } from "../../src/checkpoint/weights.js";
import { numberParameters } from "../../src/ops/parameter.js";
import type { FloatType } from "../../src/base/dtype.js";
import { Queue } from "../../src/device/queue.js";
import { WeightStore } from "../../src/device/store.js";
import type { TensorSlice, Unit } from "../../src/memory/units.js";
import { DEVICE } from "./device.js";

const parameters = numberParameters([
  { name: "w", shape: [64, 33], decay: true },
  { name: "b", shape: [129], decay: false },
]);
const BYTES: Partial<Record<TensorDtype, number>> = { F8_E4M3: 1, F8_E5M2: 1, F64: 8, F32: 4 };

/** Bytes of every bit pattern in turn, `nan` replaced. */
const patterns = (count: number, isNan: (bits: number) => boolean) =>
  Uint8Array.from({ length: count }, (_, i) => (isNan(i & 255) ? 0 : i & 255));
const e4m3 = (bits: number) => (bits & 0x7f) === 0x7f;
const e5m2 = (bits: number) => (bits & 0x7c) === 0x7c;

/** A unit with one slice of each parameter, as `cutUnits` lays them out. */
function unitOf(wire: FloatType): Unit {
  let wireOffset = 0;
  const tensors = parameters.map((parameter) => {
    const type: FloatType = parameter.shape.length > 1 ? wire : "fp32";
    const slice = { parameter, rowStart: 0, count: parameter.count, wire: type, wireOffset };
    wireOffset += Math.ceil((parameter.count * (type === "fp32" ? 4 : 2)) / 64) * 64;
    return slice as unknown as TensorSlice;
  });
  return { index: 0, tensors, wireBytes: wireOffset } as unknown as Unit; // loading and saving look at nothing else
}

async function load(
  dtype: TensorDtype,
  bytes: (parameter: { count: number }) => Uint8Array,
  o: { wire?: FloatType; scale?: string } = {},
) {
  const dir = await mkdtemp(path.join(tmpdir(), "zo2-test-"));
  const device = await loadNative().openDevice(DEVICE, { threads: 2 });
  try {
    const tensors = parameters.map((p) => {
      const content = bytes(p);
      const read = async (offset: number, into: Uint8Array) =>
        into.set(content.subarray(offset, offset + into.byteLength));
      return { name: p.name, dtype, shape: p.shape, bytes: p.count * BYTES[dtype]!, read };
    });
    const scale =
      o.scale === undefined
        ? []
        : [{ name: o.scale, dtype: "F32" as const, shape: [1], bytes: 4, read: async () => undefined }];
    await writeCheckpoint(dir, { tensors: [...tensors, ...scale], config: {} });
    await using checkpoint = await openCheckpoint(dir);
    const entries = checkTensors(checkpoint, parameters, [""]);
    const wire = o.wire ?? storedType(checkpoint, parameters, [""]);
    const unit = unitOf(wire);
    const queue = new Queue(device, true);
    const store = await WeightStore.create(device, queue, [unit], ["host"]);
    await loadWeights(store, [unit], checkpoint, entries);
    const values: Record<string, number[]> = {};
    for (const source of weightSources(store, [unit], parameters, "fp32")) {
      const out = new Uint8Array(source.bytes);
      await source.read(0, out);
      values[source.name] = [...new Float32Array(out.buffer)];
    }
    store.dispose();
    queue.dispose();
    return { wire, values };
  } finally {
    await device.close();
    await rm(dir, { recursive: true });
  }
}

/** The value of an 8-bit float, by its definition. */
function decode(bits: number, mantissaBits: number, bias: number): number {
  const exponent = (bits & 0x7f) >> mantissaBits;
  const mantissa = bits & ((1 << mantissaBits) - 1);
  const magnitude =
    exponent === 0
      ? mantissa * 2 ** (1 - bias - mantissaBits)
      : ((1 << mantissaBits) + mantissa) * 2 ** (exponent - bias - mantissaBits);
  return bits >= 128 ? -magnitude : magnitude;
}

const formats = [
  ["F8_E4M3", e4m3, 3, 7],
  ["F8_E5M2", e5m2, 2, 15],
] as const;
test.each(formats)(
  "weights in %s load as they are, and are bf16 on the wire by default",
  async (dtype, isNan, mantissaBits, bias) => {
    const bytes = (p: { count: number }) => patterns(p.count, isNan);
    const { wire, values } = await load(dtype, bytes);
    expect(wire).toBe("bf16");
    for (const p of parameters)
      expect(values[p.name]).toEqual(Array.from(bytes(p), (bits) => decode(bits, mantissaBits, bias)));
  },
);

test("weights in fp64 load rounded to fp32, which is their wire type by default", async () => {
  const doubles = (p: { count: number }) =>
    Float64Array.from({ length: p.count }, (_, i) => Math.sin(i) / 3 + i * 2 ** -30);
  const { wire, values } = await load("F64", (p) => new Uint8Array(doubles(p).buffer));
  expect(wire).toBe("fp32");
  for (const p of parameters) expect(values[p.name]).toEqual(Array.from(doubles(p), Math.fround));
});

test("what is not finite, or not on the way to the wire, is refused by tensor and element", async () => {
  const bad = (bits: number) => (p: { count: number }) => patterns(p.count, () => true).fill(bits, 70, 71);
  const refusal = (...parts: string[]) =>
    expect.objectContaining({ code: "ZO2_ERR_CHECKPOINT", message: expect.stringMatching(parts.join(".*")) });
  await expect(load("F8_E4M3", bad(0x7f))).rejects.toEqual(refusal('tensor "w"', "element 70 is not a finite number"));
  await expect(load("F8_E5M2", bad(0x7c))).rejects.toEqual(refusal('tensor "w"', "element 70 is not a finite number"));
  const double = (value: number) => (p: { count: number }) =>
    new Uint8Array(new Float64Array(p.count).fill(value, 5, 6).buffer);
  await expect(load("F64", double(Number.NaN))).rejects.toEqual(refusal('tensor "w"', "element 5 is not"));
  await expect(load("F64", double(1e300))).rejects.toEqual(refusal("element 5 is not", "does not fit in fp32"));
  await expect(load("F64", double(1e10), { wire: "fp16" })).rejects.toEqual(
    refusal("element 5 is not", "does not fit in fp16"),
  );
});

test("8-bit weights with scales beside them are refused, for the scales would be left out", async () => {
  for (const scale of ["w_scale", "w_scale_inv"]) {
    await expect(load("F8_E4M3", (p) => new Uint8Array(p.count), { scale })).rejects.toThrow(
      `stored as F8_E4M3 with the scales "${scale}"`,
    );
  }
});
