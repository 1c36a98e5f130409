import { FLOAT_SOURCES } from "../../../src/checkpoint/float-sources.js";

const all = Uint8Array.from({ length: 256 }, (_, i) => i);
const table = (dtype: "F8_E4M3" | "F8_E5M2") => {
  const out = new Float32Array(256);
  FLOAT_SOURCES[dtype]!.widen!(all, out);
  return out;
};

/** An IEEE half, by its definition. */
function half(bits: number): number {
  const [sign, exponent, mantissa] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return mantissa === 0 ? sign * Infinity : Number.NaN;
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1024 + mantissa) * 2 ** (exponent - 25);
}

test("an E5M2 number is the half whose upper byte it is", () => {
  expect([...table("F8_E5M2")]).toEqual(Array.from(all, (bits) => half(bits << 8)));
});

test("an E4M3 number is what the OCP's table of the format says: no infinities, NaN at both ends, 448 at most", () => {
  const values = table("F8_E4M3");
  const known: [number, number][] = [
    [0x00, 0],
    [0x80, -0],
    [0x01, 2 ** -9],
    [0x07, 0.875 * 2 ** -6],
    [0x08, 2 ** -6],
    [0x38, 1],
    [0xb8, -1],
    [0x39, 1.125],
    [0x40, 2],
    [0x77, 240],
    [0x78, 256],
    [0x7e, 448],
    [0xfe, -448],
    [0x7f, Number.NaN],
    [0xff, Number.NaN],
  ];
  for (const [bits, value] of known) expect(values[bits]).toBe(value);
  expect([...values].filter((v) => Number.isNaN(v))).toHaveLength(2);
  expect([...values].some((v) => Math.abs(v) === Infinity)).toBe(false);
  for (let bits = 1; bits < 0x7f; bits++) {
    expect(values[bits]).toBeGreaterThan(values[bits - 1]!);
    expect(values[bits + 128]).toBe(-values[bits]!);
  }
});

test("every 8-bit number is exact in bf16, which is what they are stored in by default", () => {
  for (const dtype of ["F8_E4M3", "F8_E5M2"] as const) {
    expect(FLOAT_SOURCES[dtype]).toMatchObject({ stored: "bf16", type: "fp32", bytes: 1 });
    const words = new Uint32Array(table(dtype).buffer);
    for (const [bits, word] of words.entries()) if (!Number.isNaN(table(dtype)[bits])) expect(word & 0xffff).toBe(0);
  }
});

test("an fp64 number is rounded to the nearest fp32, ties to even, from bytes at any place", () => {
  const values = [1, 0.1, -1e-40, 1 + 2 ** -24, 1 + 3 * 2 ** -24, 1e39, 3.4028234663852886e38, Number.NaN, -0];
  const bytes = new Uint8Array(values.length * 8 + 3).subarray(3);
  bytes.set(new Uint8Array(Float64Array.from(values).buffer));
  const out = new Float32Array(values.length);
  FLOAT_SOURCES.F64!.widen!(bytes, out);
  expect([...out]).toEqual(values.map(Math.fround));
  expect(FLOAT_SOURCES.F64).toMatchObject({ stored: "fp32", type: "fp32", bytes: 8 });
});

test("integers, booleans, complex numbers and other 8-bit formats are no weights", () => {
  expect(Object.keys(FLOAT_SOURCES).sort()).toEqual(["BF16", "F16", "F32", "F64", "F8_E4M3", "F8_E5M2"]);
});
