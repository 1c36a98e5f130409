import { type TensorDtype, type TensorEntry, tensorBytes } from "../../../src/checkpoint/index.js";
import { isRowMajor, readStrided, rowMajorStrides } from "../../../src/checkpoint/strided.js";

/** A file in memory that counts what is read of it. */
function memoryFile(bytes: Uint8Array) {
  const reads: number[] = [];
  return {
    path: "f",
    bytes: bytes.byteLength,
    reads,
    read: async (position: number, into: Uint8Array) => {
      if (position < 0 || position + into.byteLength > bytes.byteLength)
        throw new Error(`read outside the file: ${position} + ${into.byteLength}`);
      reads.push(into.byteLength);
      into.set(bytes.subarray(position, position + into.byteLength));
    },
  };
}

function entryOf(dtype: TensorDtype, shape: readonly number[], strides: readonly number[], offset = 0): TensorEntry {
  return { name: "t", dtype, shape, file: "f", offset, bytes: tensorBytes(dtype, shape)!, strides };
}

/** The same by the definition: element by element. */
function expected(bytes: Uint8Array, entry: TensorEntry, item: number): Uint8Array {
  const out = new Uint8Array(entry.bytes);
  const index = entry.shape.map(() => 0);
  for (let i = 0; i * item < out.byteLength; i++) {
    const from = entry.offset + index.reduce((sum, k, d) => sum + k * entry.strides![d]!, 0) * item;
    out.set(bytes.subarray(from, from + item), i * item);
    for (let d = index.length - 1; d >= 0 && ++index[d]! === entry.shape[d]; d--) index[d] = 0;
  }
  return out;
}

/** A small generator of numbers, the same at every run. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const SIZES: [TensorDtype, number][] = [
  ["U8", 1],
  ["BF16", 2],
  ["F32", 4],
  ["F64", 8],
];

test("400 random views, read in random pieces, are what their definition says", async () => {
  const random = numbers(7);
  for (let round = 0; round < 400; round++) {
    const [dtype, item] = SIZES[random(4)]!;
    const shape = Array.from({ length: random(5) }, () => 1 + random(6));
    const strides = shape.map(() => random(20));
    const offset = random(30);
    const span = shape.reduce((sum, extent, d) => sum + (extent - 1) * strides[d]!, 1) * item;
    const bytes = Uint8Array.from({ length: offset + span }, () => random(256));
    const entry = entryOf(dtype, shape, strides, offset);
    const whole = expected(bytes, entry, item);
    for (let piece = 0; piece < 4; piece++) {
      const begin = random(entry.bytes);
      const into = new Uint8Array(piece === 0 ? entry.bytes : random(entry.bytes - begin + 1)).fill(0xa5);
      await readStrided(memoryFile(bytes), entry, strides, piece === 0 ? 0 : begin, into);
      const from = piece === 0 ? 0 : begin;
      expect(Buffer.compare(into, whole.subarray(from, from + into.byteLength))).toBe(0);
    }
  }
});

const large: [string, number[], number[]][] = [
  ["transposed", [1500, 1000], [1, 1500]],
  ["cut into columns", [1500, 100], [2000, 1]],
  ["of every third element", [500, 500], [3000, 3]],
  ["of far elements", [5, 3, 2], [1, 500_000, 1_100_000]],
];
test.each(large)("a large matrix %s is read through windows of 2 MiB", async (_, shape, strides) => {
  const span = shape.reduce((sum, extent, d) => sum + (extent - 1) * strides[d]!, 1);
  const bytes = new Uint8Array(span * 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Math.imul(i, 2654435761) >>> 24;
  const file = memoryFile(bytes);
  const entry = entryOf("BF16", shape, strides);
  const into = new Uint8Array(entry.bytes);
  await readStrided(file, entry, strides, 0, into);
  expect(Buffer.compare(into, expected(bytes, entry, 2))).toBe(0);
  expect(Math.max(...file.reads)).toBeLessThanOrEqual(2 ** 21);
  // Neither the file over and over, nor a call for every element.
  expect(file.reads.reduce((a, b) => a + b, 0)).toBeLessThanOrEqual(2 * bytes.length);
  expect(file.reads.length).toBeLessThanOrEqual(Math.max(100, entry.bytes / 1000));
});

test("strides are row-major when they are those of the shape, wherever an extent is not 1", () => {
  expect(rowMajorStrides([2, 3, 4])).toEqual([12, 4, 1]);
  expect(rowMajorStrides([])).toEqual([]);
  const are = [
    [
      [2, 3],
      [3, 1],
    ],
    [
      [1, 3],
      [99, 1],
    ],
    [
      [2, 1],
      [1, 50],
    ],
    [
      [0, 3],
      [7, 7],
    ],
    [[], []],
  ];
  const areNot = [
    [
      [2, 3],
      [1, 2],
    ],
    [
      [2, 3],
      [4, 1],
    ],
    [[2], [0]],
    [
      [2, 3],
      [3, 2],
    ],
  ];
  for (const [shape, strides] of are) expect(isRowMajor(shape!, strides!)).toBe(true);
  for (const [shape, strides] of areNot) expect(isRowMajor(shape!, strides!)).toBe(false);
});
