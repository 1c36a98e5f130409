import { uniformValues } from "../../../src/adapters/values.js";
import { philox } from "../../../src/base/philox.js";

async function read(values: ReturnType<typeof uniformValues>, first: number, count: number): Promise<Float32Array> {
  const into = new Uint8Array(4 * count);
  await values.read(4 * first, into);
  return new Float32Array(into.buffer);
}

test("first values are what Philox has at their places, however they are read", async () => {
  const seed = 2 ** 40 + 7;
  const bound = 1 / Math.sqrt(64);
  const values = uniformValues(seed, 128, bound);
  const whole = await read(values, 0, 20_000);
  for (const [from, count] of [
    [0, 3],
    [3, 5],
    [4093, 9001],
  ] as const)
    expect(await read(values, from, count)).toEqual(whole.subarray(from, from + count));
  for (const place of [0, 1, 6, 4099]) {
    const at = 128 + place;
    const word = philox([Math.floor(at / 4), 0, 0, 3 << 24], [7, 2 ** 8])[at % 4] ?? 0;
    expect(whole[place]).toBe(Math.fround(bound * (2 * ((Math.floor(word / 256) + 0.5) / 2 ** 24) - 1)));
  }
});

test("they are uniform, and others for another seed or another place", async () => {
  const count = 100_000;
  const whole = await read(uniformValues(1, 0, 0.5), 0, count);
  const mean = (power: number) => whole.reduce((sum, v) => sum + v ** power, 0) / count;
  expect(Math.abs(mean(1))).toBeLessThan(5e-3);
  expect(mean(2)).toBeCloseTo(0.25 / 3, 3);
  expect(mean(4)).toBeCloseTo(0.0625 / 5, 3);
  expect(Math.max(...whole.map(Math.abs))).toBeLessThanOrEqual(0.5);
  expect(await read(uniformValues(1, 4, 0.5), 0, 100)).toEqual(whole.subarray(4, 104));
  expect(await read(uniformValues(2, 0, 0.5), 0, 100)).not.toEqual(whole.subarray(0, 100));
});
