import { openDataset } from "../../../src/data/dataset.js";
import { SplitMix64 } from "../../../src/data/random.js";
import { batches, inOrder, Sampler } from "../../../src/data/sampler.js";
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

  test("goes on from its state, in the middle of an epoch and at its end", () => {
    for (const given of [0, 3, 10, 14, 20]) {
      const sampler = new Sampler({ size: 10, seed: 9 });
      take(sampler, given);
      const state = JSON.parse(JSON.stringify(sampler.state())) as ReturnType<Sampler["state"]>;
      const resumed = new Sampler({ size: 10, seed: 9 });
      resumed.restore(state);
      expect(take(resumed, 25)).toEqual(take(sampler, 25));
    }
  });

  test("does not go on from the state of another seed or data set", () => {
    const sampler = new Sampler({ size: 10, seed: 9 });
    expect(() => sampler.restore({ seed: "8", epoch: 0, position: 0 })).toThrow(
      failure("ZO2_ERR_INVALID_ARGUMENT", "seed is 9, the saved state's is 8"),
    );
    for (const place of [
      { epoch: 0, position: 11 },
      { epoch: -1, position: 0 },
      { epoch: 0.5, position: 0 },
      { epoch: 0, position: -1 },
    ]) {
      expect(() => sampler.restore({ seed: "9", ...place })).toThrow(
        failure("ZO2_ERR_INVALID_ARGUMENT", "is no place in a data set of 10"),
      );
    }
  });

  test("without shuffling goes from first to last", () => {
    expect(take(new Sampler({ size: 3, shuffle: false }), 7)).toEqual([0, 1, 2, 0, 1, 2, 0]);
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
    for await (const batch of batches(dataset, new Sampler({ size: 5, seed: 4 }), 3)) {
      expect(batch).toHaveLength(3);
      got.push(...firsts(batch));
      if (got.length === 12) break;
    }
    expect(got).toEqual(expected);
  });

  test("for evaluation hold every example once, in order, the last as short as need be", async () => {
    await using dataset = await openDataset(records);
    expect((await all(inOrder(dataset, 2))).map(firsts)).toEqual([[0, 1], [2, 3], [4]]);
    expect((await all(inOrder(dataset, 50))).map(firsts)).toEqual([[0, 1, 2, 3, 4]]);
  });

  test("need a positive size and a sampler of the same data set", async () => {
    await using dataset = await openDataset(records);
    for (const size of [0, -1, 1.5]) {
      await expect(batches(dataset, new Sampler({ size: 5 }), size).next()).rejects.toThrow(
        failure("ZO2_ERR_CONFIG", `batchSize is ${size}`),
      );
      await expect(inOrder(dataset, size).next()).rejects.toThrow(failure("ZO2_ERR_CONFIG", `batchSize is ${size}`));
    }
    await expect(batches(dataset, new Sampler({ size: 4 }), 2).next()).rejects.toThrow(
      failure("ZO2_ERR_INVALID_ARGUMENT", "the sampler is for 4 examples, examples has 5"),
    );
  });
});
