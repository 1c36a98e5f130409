import type { Device } from "zo2/native";
import { DTYPE } from "../../src/contract/constants.js";
import { collect, contents, errorOf, native, withDevice } from "./support.js";
import { DEVICE } from "./device.js";

/**
 * An independent reference: what the bits of a 16-bit format mean, from its definition in double precision, and
 * rounding as the search for the nearest of all its values (ties: the one whose last bit is 0).
 */
interface Format {
  readonly dtype: number;
  readonly exponentBits: number;
  readonly fractionBits: number;
}
const F16: Format = { dtype: DTYPE.f16, exponentBits: 5, fractionBits: 10 };
const BF16: Format = { dtype: DTYPE.bf16, exponentBits: 8, fractionBits: 7 };

function decoded({ exponentBits, fractionBits }: Format, bits: number): number {
  const bias = 2 ** (exponentBits - 1) - 1;
  const sign = bits >> 15 ? -1 : 1;
  const exponent = (bits >> fractionBits) & (2 ** exponentBits - 1);
  const fraction = bits & (2 ** fractionBits - 1);
  if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Infinity : NaN;
  if (exponent === 0) return sign * fraction * 2 ** (1 - bias - fractionBits);
  return sign * (1 + fraction / 2 ** fractionBits) * 2 ** (exponent - bias);
}

/** Every pattern whose value is finite and not negative, in order of value. */
const positives = (format: Format) =>
  Array.from({ length: (2 ** format.exponentBits - 1) << format.fractionBits }, (_, bits) => bits);

async function convertAll(
  device: Device,
  source: ArrayBufferView,
  from: number,
  to: number,
  count: number,
): Promise<{ out: ArrayBuffer; first: number }> {
  const bytes = count * (to === DTYPE.f32 ? 4 : 2);
  const target = await device.createBuffer("host", bytes);
  const first = await device.convert(
    new Uint8Array(source.buffer, source.byteOffset, source.byteLength),
    from,
    target,
    0,
    to,
    count,
  );
  const out = new Uint8Array(bytes);
  target.read(0, out);
  target.dispose();
  return { out: out.buffer, first };
}

test.each([
  ["fp16", F16],
  ["bf16", BF16],
])("all 65536 patterns of %s widen to the value of their definition, and come back", async (_name, format) => {
  await withDevice({}, async (device) => {
    const patterns = Uint16Array.from({ length: 65536 }, (_, bits) => bits);
    const wide = await convertAll(device, patterns, format.dtype, DTYPE.f32, 65536);
    const values = new Float32Array(wide.out);
    for (let bits = 0; bits < 65536; bits++) {
      if (!Object.is(values[bits], decoded(format, bits)))
        throw new Error(`0x${bits.toString(16)} widens to ${values[bits]}`);
    }
    expect(wide.first).toBe((2 ** format.exponentBits - 1) << format.fractionBits);
    const narrow = new Uint16Array((await convertAll(device, values, DTYPE.f32, format.dtype, 65536)).out);
    for (let bits = 0; bits < 65536; bits++) {
      const notANumber = Number.isNaN(decoded(format, bits));
      if (notANumber ? !Number.isNaN(decoded(format, narrow[bits])) : narrow[bits] !== bits)
        throw new Error(`0x${bits.toString(16)} comes back as ${narrow[bits]}`);
    }
  });
});

/** The fp32 number just above or below. Finite, not zero. */
function neighbour(x: number, up: boolean): number {
  const words = new Uint32Array(Float32Array.of(x).buffer);
  words[0] += up ? 1 : -1;
  return new Float32Array(words.buffer)[0];
}

test.each([
  ["fp16", F16],
  ["bf16", BF16],
])("fp32 rounds to %s to nearest, ties to even, at and around every midpoint", async (_name, format) => {
  const bits = positives(format);
  const inputs: number[] = [];
  const expected: number[] = [];
  for (const low of bits.slice(0, -1)) {
    const [a, b] = [decoded(format, low), decoded(format, low + 1)];
    const middle = (a + b) / 2;
    if (Math.fround(middle) !== middle) continue;
    for (const sign of [0, 0x8000]) {
      const flip = sign === 0 ? 1 : -1;
      inputs.push(flip * middle, flip * neighbour(middle, false), flip * neighbour(middle, true));
      expected.push(sign | (low % 2 === 0 ? low : low + 1), sign | low, sign | (low + 1));
    }
  }
  expect(inputs.length).toBeGreaterThan(6 * 30000);
  await withDevice({}, async (device) => {
    const { out, first } = await convertAll(device, Float32Array.from(inputs), DTYPE.f32, format.dtype, inputs.length);
    const got = new Uint16Array(out);
    const wrong = inputs.findIndex((_, i) => got[i] !== expected[i]);
    expect(wrong < 0 ? "all right" : `${inputs[wrong]} becomes ${got[wrong]}, not ${expected[wrong]}`).toBe(
      "all right",
    );
    expect(first).toBe(-1);
  });
});

test("fp16 and bf16 convert into each other through fp32", async () => {
  await withDevice({}, async (device) => {
    const patterns = Uint16Array.from(positives(BF16));
    const direct = new Uint16Array((await convertAll(device, patterns, DTYPE.bf16, DTYPE.f16, patterns.length)).out);
    const wide = await convertAll(device, patterns, DTYPE.bf16, DTYPE.f32, patterns.length);
    const twoSteps = new Uint16Array(
      (await convertAll(device, new Float32Array(wide.out), DTYPE.f32, DTYPE.f16, patterns.length)).out,
    );
    expect(Buffer.compare(Buffer.from(direct.buffer), Buffer.from(twoSteps.buffer))).toBe(0);
  });
});

test.each([
  [DTYPE.f32, 4],
  [DTYPE.f16, 2],
  [DTYPE.bf16, 2],
])("dtype %i to itself copies every bit, also of NaN", async (dtype, bytes) => {
  await withDevice({}, async (device) => {
    const source = Uint8Array.from({ length: 4096 * bytes }, (_, i) => (i * 197 + (i >> 3)) & 255);
    const { out } = await convertAll(device, source, dtype, dtype, 4096);
    expect(Buffer.compare(Buffer.from(out), Buffer.from(source.buffer))).toBe(0);
  });
});

test(
  "the first element that is not finite, or does not fit the target, is reported; the rest is converted all the " +
    "same",
  async () => {
    await withDevice({}, async (device) => {
      const count = 200001;
      const values = new Float32Array(count).fill(1.5);
      const first = async (dtype: number) => (await convertAll(device, values, DTYPE.f32, dtype, count)).first;
      expect(await first(DTYPE.f16)).toBe(-1);
      values[count - 1] = -Infinity;
      values[150000] = NaN;
      values[140000] = 65520;
      values[100] = 65519;
      expect(await first(DTYPE.f32)).toBe(150000);
      expect(await first(DTYPE.bf16)).toBe(150000);
      expect(await first(DTYPE.f16)).toBe(140000);
      const { out } = await convertAll(device, values, DTYPE.f32, DTYPE.f16, count);
      expect(new Uint16Array(out)[count - 2]).toBe(0x3e00);
    });
  },
);

test("sources need no alignment, targets no round offset, and nothing outside the range is touched", async () => {
  await withDevice({}, async (device) => {
    const bytes = new Uint8Array(1 + 4 * 3);
    new DataView(bytes.buffer).setFloat32(1, 1.5, true);
    new DataView(bytes.buffer).setFloat32(5, -2, true);
    new DataView(bytes.buffer).setFloat32(9, 0.25, true);
    const target = await device.createBuffer("host", 12);
    target.write(0, new Uint8Array(12).fill(0xee));
    await device.convert(bytes.subarray(1), DTYPE.f32, target, 3, DTYPE.f16, 3);
    expect([...contents(target)]).toEqual([0xee, 0xee, 0xee, 0x00, 0x3e, 0x00, 0xc0, 0x00, 0x34, 0xee, 0xee, 0xee]);
    expect(await device.convert(bytes, DTYPE.f32, target, 12, DTYPE.f16, 0)).toBe(-1);
  });
});

test("a source that nobody else holds is kept, and the bytes of a small one stay where they are", async () => {
  await withDevice({}, async (device) => {
    const count = 1 << 20;
    const target = await device.createBuffer("host", 2 * count + 16);
    // Small arrays may have their bytes inside themselves, until their ArrayBuffer is asked for.
    const small = new Uint8Array(32);
    small.set(new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8).buffer));
    const conversions = [
      device.convert(new Uint8Array(new Float32Array(count).fill(3).buffer), DTYPE.f32, target, 0, DTYPE.bf16, count),
      device.convert(small, DTYPE.f32, target, 2 * count, DTYPE.bf16, 8),
    ];
    expect(small.buffer.byteLength).toBe(32);
    collect();
    expect(await Promise.all(conversions)).toEqual([-1, -1]);
    const got = new Uint16Array(contents(target).buffer);
    expect(got.subarray(0, count).every((bits) => bits === 0x4040)).toBe(true);
    expect([...got.subarray(count)]).toEqual([0x3f80, 0x4000, 0x4040, 0x4080, 0x40a0, 0x40c0, 0x40e0, 0x4100]);
  });
});

test("conversions that cannot be done are refused with the reason", async () => {
  await withDevice({}, async (device) => {
    const target = await device.createBuffer("host", 8);
    const onDevice = await device.createBuffer("device", 8);
    const source = new Uint8Array(8);
    const cases: [unknown[], RegExp][] = [
      [[source, DTYPE.f32, target, 0, DTYPE.f32, 3], /3 elements of 4 bytes need more than the 8 bytes of source/],
      [[source, DTYPE.f16, target, 2, DTYPE.f32, 2], /pass the end of a target of 8 bytes/],
      [[source, DTYPE.f16, target, 9, DTYPE.f32, 0], /offset is 9/],
      [[source, DTYPE.i32, target, 0, DTYPE.f32, 1], /supported are 0 \(f32\), 1 \(f16\) and 2 \(bf16\)/],
      [[source, DTYPE.f32, target, 0, 7, 1], /targetDtype is 7/],
      [[source, DTYPE.f32, onDevice, 0, DTYPE.f32, 1], /host buffer/],
      [[new Float32Array(2), DTYPE.f32, target, 0, DTYPE.f32, 1], /must be a Uint8Array/],
      [[source, DTYPE.f32, target, 0, DTYPE.f32, 1e20], /count is 1(00000000000000000000|e\+20)/],
    ];
    for (const [args, message] of cases) {
      const error = await errorOf(Reflect.apply(device.convert, device, args));
      expect(error.code).toBe("ZO2_ERR_INVALID_ARGUMENT");
      expect(error.message).toMatch(message);
    }
  });
});

describe.each([
  ["int8", DTYPE.i8],
  ["e4m3", DTYPE.e4m3],
])("%s", (_name, dtype) => {
  const [rows, width] = [7, 150];
  const values = Float32Array.from({ length: rows * width }, (_, i) => Math.sin(i * i) * 2 ** -(i % 11));
  const source = new Uint8Array(values.buffer);
  const scaleOffset = 2048;

  test("rows go into blocks whole or in parts, and come back whole or in parts, the same", async () => {
    await withDevice({}, async (device) => {
      const blocks = () => device.createBuffer("host", 4096);
      const [whole, parts, out] = [await blocks(), await blocks(), await device.createBuffer("host", 8192)];
      const into = (buffer: typeof whole) => [buffer, 64, scaleOffset, dtype, width] as const;
      expect(await device.quantise(source, DTYPE.f32, ...into(whole), 0, values.length)).toBe(-1);
      for (const [first, end] of [
        [0, 64],
        [64, 128],
        [128, 300],
        [300, 428],
        [428, 1050],
      ]) {
        const part = source.subarray(4 * first, 4 * end);
        expect(await device.quantise(part, DTYPE.f32, ...into(parts), first, end - first)).toBe(-1);
      }
      expect(contents(parts)).toEqual(contents(whole));
      const bytes = contents(whole);
      // Three blocks a row; what lies around is not touched.
      expect(bytes.subarray(0, 64).every((byte) => byte === 0)).toBe(true);
      expect(bytes.subarray(64 + rows * width, scaleOffset).every((byte) => byte === 0)).toBe(true);
      expect(bytes.subarray(scaleOffset, scaleOffset + 3 * rows).every((byte) => byte !== 0)).toBe(true);
      expect(bytes.subarray(scaleOffset + 3 * rows).every((byte) => byte === 0)).toBe(true);
      const back = async (first: number, count: number) => {
        expect(await device.dequantise(...into(whole), first, out, 0, DTYPE.f32, count)).toBe(-1);
        return new Float32Array(contents(out).slice(0, 4 * count).buffer);
      };
      const all = await back(0, values.length);
      for (const [first, count] of [
        [1, 1],
        [63, 3],
        [140, 20],
        [299, 152],
        [1049, 1],
      ])
        expect(await back(first, count)).toEqual(all.slice(first, first + count));
      // Within half a step, of which the largest of a block has 7 or 4 bits.
      all.forEach((value, i) => expect(Math.abs(value - values[i])).toBeLessThanOrEqual(2 ** -4));
    });
  });

  test("what has no place in a block is named, and becomes 0", async () => {
    await withDevice({}, async (device) => {
      const target = await device.createBuffer("host", 4096);
      const out = await device.createBuffer("host", 4096);
      const bad = Float32Array.from({ length: 70 }, (_, i) => [1, Number.NaN, 3.4e38, -Infinity][i % 5] ?? 2);
      const to = [target, 0, 1024, dtype, 70] as const;
      expect(await device.quantise(new Uint8Array(bad.buffer), DTYPE.f32, ...to, 0, 70)).toBe(1);
      expect(await device.dequantise(...to, 0, out, 0, DTYPE.f32, 70)).toBe(-1);
      const got = new Float32Array(contents(out).slice(0, 280).buffer);
      expect(Array.from(got)).toEqual(Array.from(bad, (x) => (Math.abs(x) < 3e38 ? x : 0)));
    });
  });

  test("blocks that cannot be made are refused with the reason", async () => {
    await withDevice({}, async (device) => {
      const target = await device.createBuffer("host", 4096);
      const quantise = async (offset: number, scales: number, type: number, w: number, first: number, count: number) =>
        (await errorOf(() => device.quantise(source, DTYPE.f32, target, offset, scales, type, w, first, count)))
          .message;
      expect(await quantise(0, 2048, DTYPE.bf16, 150, 0, 150)).toMatch(/targetDtype is 2; supported are 4 .* 5/);
      expect(await quantise(0, 2048, dtype, 0, 0, 150)).toMatch(/rowWidth is 0/);
      expect(await quantise(0, 2048, dtype, 150, 1, 149)).toMatch(/do not begin and end where blocks do/);
      expect(await quantise(0, 2048, dtype, 150, 0, 63)).toMatch(/do not begin and end where blocks do/);
      expect(await quantise(0, 2048, dtype, 150, 0, 1200)).toMatch(/source: 1200 of 4 bytes/);
      expect(await quantise(4000, 2048, dtype, 150, 0, 150)).toMatch(/target: 150 of 1 bytes/);
      expect(await quantise(0, 4090, dtype, 150, 0, 450)).toMatch(/the scales of target: 9 of 1 bytes/);
      const back = async (offset: number, scales: number, first: number, count: number) =>
        (await errorOf(() => device.dequantise(target, offset, scales, dtype, 150, first, target, 0, DTYPE.f32, count)))
          .message;
      expect(await back(4000, 0, 0, 97)).toMatch(/source: 97 of 1 bytes/);
      expect(await back(0, 4090, 0, 1050)).toMatch(/the scales of source: 21 of 1 bytes/);
      expect(await back(0, 2048, 0, 1025)).toMatch(/target: 1025 of 4 bytes/);
      const onDevice = await device.createBuffer("device", 4096);
      const refused = errorOf(() => device.quantise(source, DTYPE.f32, onDevice, 0, 2048, dtype, 150, 0, 150));
      expect((await refused).message).toMatch(/target is a device buffer/);
    });
  });
});

test("closing the device ends conversions early", async () => {
  const device = await native.openDevice(DEVICE, { threads: 1 });
  const count = 1 << 22;
  const target = await device.createBuffer("host", 2 * count);
  const source = new Uint8Array(4 * count);
  const conversions = Array.from({ length: 20 }, () => device.convert(source, DTYPE.f32, target, 0, DTYPE.f16, count));
  const last = errorOf(conversions[19]);
  const settled = Promise.allSettled(conversions);
  await device.close();
  expect((await last).code).toBe("ZO2_ERR_CANCELLED");
  await settled;
});
