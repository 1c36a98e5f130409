import { openDataset } from "../../../src/data/dataset.js";
import { SplitMix64 } from "../../../src/data/random.js";
import { inOrder, Sampler } from "../../../src/data/sampler.js";
import { BatchOrder } from "../../../src/train/order.js";
import { failure } from "../checkpoint/support.js";
import { all } from "./support.js";

const MASK = (1n << 64n) - 1n;

/** The generator as it is defined, in whole 64-bit numbers. */
function* reference(seed: bigint): Generator<bigint, never> {
  for (let state = seed & MASK; ; ) {
    state = (state + 0x9e3779b97f4a7c15n) & MASK;
    let z = state;
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & MASK;
    yield z ^ (z >> 31n);
  }
}

const whole = ([high, low]: readonly [number, number]) => (BigInt(high) << 32n) | BigInt(low);

describe("SplitMix64", () => {
  test("gives the published values for the seed 1234567", () => {
    const random = new SplitMix64(1234567n);
    const known = [
      6457827717110365317n,
      3203168211198807973n,
      9817491932198370423n,
      4593380528125082431n,
      16408922859458223821n,
    ];
    expect(known.map(() => whole(random.next()))).toEqual(known);
  });

  test("equals the 64-bit definition for seeds at every border", () => {
    for (const seed of [0n, 1n, MASK, 1n << 63n, 1n << 32n, (1n << 32n) - 1n, 0xdeadbeefcafef00dn]) {
      const random = new SplitMix64(seed);
      const exact = reference(seed);
      for (let i = 0; i < 2000; i++) expect(whole(random.next())).toBe(exact.next().value);
    }
  });

  test("draws every value below a bound about equally often", () => {
    const random = new SplitMix64(3n);
    const counts = new Array<number>(7).fill(0);
    for (let i = 0; i < 70_000; i++) counts[random.below(7)]!++;
    // Six standard deviations of a fair draw.
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(6 * Math.sqrt(10_000 * (6 / 7)));
  });
});

const take = (sampler: Sampler, count: number) => Array.from({ length: count }, () => sampler.next());

describe("a sampler", () => {
  test("gives every index once in each epoch, in another order each time", () => {
    const sampler = new Sampler({ size: 101, seed: 5 });
    const epochs = [0, 1, 2, 3].map(() => take(sampler, 101));
    for (const epoch of epochs)
      expect([...epoch].sort((a, b) => a - b)).toEqual(Array.from({ length: 101 }, (_, i) => i));
    expect(new Set(epochs.map(String)).size).toBe(4);
  });

  test("reaches every order of a small data set about equally often", () => {
    const counts = new Map<string, number>();
    for (let seed = 0; seed < 6000; seed++) {
      const order = String(take(new Sampler({ size: 3, seed }), 3));
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(6);
    for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(6 * Math.sqrt(1000 * (5 / 6)));
  });

  test("is set by its seed alone, 0 and large ones included; a negative seed is its 64-bit pattern", () => {
    const order = (seed: number | bigint) => String(take(new Sampler({ size: 50, seed }), 120));
    for (const seed of [0, 1, 2n ** 64n - 1n]) expect(order(seed)).toBe(order(seed));
    expect(new Set([0, 1, 2, 2n ** 32n, 2n ** 63n].map(order)).size).toBe(5);
    expect(order(-1)).toBe(order(2n ** 64n - 1n));
    expect(order(7)).toBe(order(7n));
  });

  test.each([
    [{ size: 0 }, "ZO2_ERR_DATA", "is empty"],
    [{ size: 1.5 }, "ZO2_ERR_INVALID_ARGUMENT", "size is 1.5"],
    [{ size: 3, seed: 2 ** 53 }, "ZO2_ERR_INVALID_ARGUMENT", "not a safe integer"],
    [{ size: 3, seed: 2n ** 64n }, "ZO2_ERR_INVALID_ARGUMENT", "more than 64 bits"],
  ] as const)("refuses %p", (options, code, message) => {
    expect(() => new Sampler(options)).toThrow(failure(code, message));
  });
});

describe("batches", () => {
  const records = Array.from({ length: 5 }, (_, i) => ({ ids: [i, 9] }));
  const firsts = (batch: readonly { kind: string }[]) =>
    batch.map((example) => ("ids" in example ? (example as { ids: number[] }).ids[0] : -1));

  test("for training are always full, and go on over the end of an epoch in the sampler's order", async () => {
    await using dataset = await openDataset(records);
    const expected = take(new Sampler({ size: 5, seed: 4 }), 12);
    const got: (number | undefined)[] = [];
    const order = new BatchOrder(dataset, 4n, 3);
    for (let step = 0; step < 4; step++) {
      const batch = await order.batch(step);
      expect(batch).toHaveLength(3);
      got.push(...firsts(batch));
    }
    expect(got).toEqual(expected);
    // A run that goes on at a later step meets the batch that it would have met.
    expect(firsts(await new BatchOrder(dataset, 4n, 3).batch(3))).toEqual(expected.slice(9));
    // A step that is taken again, once one before it was dropped.
    expect(firsts(await order.batch(2))).toEqual(expected.slice(6, 9));
  });

  test("for evaluation hold every example once, in order, the last as short as need be", async () => {
    await using dataset = await openDataset(records);
    expect((await all(inOrder(dataset, 2))).map(firsts)).toEqual([[0, 1], [2, 3], [4]]);
    expect((await all(inOrder(dataset, 50))).map(firsts)).toEqual([[0, 1, 2, 3, 4]]);
  });

  test("need a positive size", async () => {
    await using dataset = await openDataset(records);
    for (const size of [0, -1, 1.5]) {
      await expect(inOrder(dataset, size).next()).rejects.toThrow(failure("ZO2_ERR_CONFIG", `batchSize is ${size}`));
    }
  });
});
