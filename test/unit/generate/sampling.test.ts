import { SplitMix64 } from "../../../src/data/random.js";
import {
  candidates,
  choose,
  likeliest,
  logProbability,
  unitAt,
  type Sampling,
} from "../../../src/infer/generate/sampling.js";

const sampling = (o: Partial<Sampling> = {}): Sampling => ({ temperature: 1, seed: 0n, ...o });

/** Logits in steps of a half, so that many are equal. */
function roughLogits(count: number, seed: bigint): Float32Array {
  const random = new SplitMix64(seed);
  return Float32Array.from({ length: count }, () => random.below(24) / 2 - 6);
}

/** By the definitions, over the whole sorted vocabulary. */
function reference(logits: Float32Array, { temperature, topK, topP }: Sampling): { id: number; p: number }[] {
  const softmax = (ids: number[]) => {
    const weights = ids.map((id) => Math.exp(logits[id] / temperature));
    const total = weights.reduce((a, b) => a + b, 0);
    return ids.map((id, i) => ({ id, p: weights[i] / total }));
  };
  const sorted = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a] || a - b);
  let kept = softmax(sorted.slice(0, topK ?? sorted.length));
  if (topP !== undefined) {
    let mass = 0;
    // Sums that should be equal to topP may come out just below.
    const end = kept.findIndex(({ p }) => (mass += p) >= topP - 1e-12);
    kept = softmax(kept.slice(0, end < 0 ? kept.length : end + 1).map(({ id }) => id));
  }
  return kept;
}

describe("what may be drawn", () => {
  const limits: Partial<Sampling>[] = [
    { topK: 1 },
    { topK: 7 },
    { topK: 40 },
    { topK: 10_000 },
    { topP: 0.001 },
    { topP: 0.3 },
    { topP: 0.9 },
    { topP: 0.999 },
    { topP: 1 },
    { topK: 20, topP: 0.5 },
    { topK: 3, topP: 0.95, temperature: 3 },
    { topP: 0.8, temperature: 0.1 },
    { topP: 0.8, temperature: 10 },
  ];
  it.each(limits)("%j is the set that the definition gives, with its probabilities", (o) => {
    for (const [i, count] of [1, 2, 33, 500, 3000].entries()) {
      const logits = roughLogits(count, BigInt(i));
      const expected = reference(logits, sampling(o));
      const { ids, weights } = candidates(logits, sampling(o));
      const total = weights.reduce((a, b) => a + b, 0);
      expect(ids ?? Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a] || a - b)).toEqual(
        expected.map(({ id }) => id),
      );
      if (ids !== null)
        expect(Math.max(...expected.map(({ p }, j) => Math.abs(weights[j] / total - p)))).toBeLessThan(1e-10);
    }
  });

  it("of equal logits the first are kept", () => {
    expect(candidates(Float32Array.of(1, 2, 2, 2, 0), sampling({ topK: 2 })).ids).toEqual([1, 2]);
    expect(candidates(new Float32Array(100), sampling({ topK: 3 })).ids).toEqual([0, 1, 2]);
    expect(candidates(new Float32Array(100), sampling({ topP: 0.045 })).ids).toEqual([0, 1, 2, 3, 4]);
  });

  it("is everything without limits, in order", () => {
    const { ids, weights } = candidates(Float32Array.of(0, Math.log(2), -Infinity), sampling());
    expect(ids).toBeNull();
    expect(weights[0] / weights[1]).toBeCloseTo(0.5, 6);
    expect(weights[2]).toBe(0);
  });
});

it("as many tokens as there are is no limit: they are drawn in the order of their ids, as without one", () => {
  const logits = roughLogits(33, 1n);
  expect(candidates(logits, sampling({ topK: 33 })).ids).toBeNull();
  expect(candidates(logits, sampling({ topK: 33 }))).toEqual(candidates(logits, sampling({})));
  expect(candidates(logits, sampling({ topK: 32 })).ids).toHaveLength(32);
});

describe("draws", () => {
  const logits = Float32Array.of(0.3, -1, 2, 1.2, 1.2, -4, 0.9, -0.2);
  const DRAWS = 20_000;
  // Quantiles of chi-square at 1 - 1e-4, by degrees of freedom: a right sampler passes with a fixed seed, and a wrong
  // one has no chance.
  const QUANTILES = [0, 15.14, 18.42, 21.11, 23.51, 25.74, 27.86, 29.88];

  it.each([
    {},
    { temperature: 0.5 },
    { temperature: 4 },
    { topK: 4 },
    { topP: 0.7 },
    { topK: 6, topP: 0.9, temperature: 2 },
  ])("%j come as often as their probabilities say", (o) => {
    const s = sampling({ ...o, seed: 5n });
    const counts = new Float64Array(logits.length);
    for (let i = 0; i < DRAWS; i++)
      counts[choose(logits, s, () => unitAt(s.seed, i % 100, Math.floor(i / 100)), "here")]++;
    const expected = reference(logits, s);
    const chi = expected.reduce((sum, { id, p }) => sum + (counts[id] - DRAWS * p) ** 2 / (DRAWS * p), 0);
    expect(chi).toBeLessThan(QUANTILES[expected.length - 1]);
    expect(expected.reduce((sum, { id }) => sum + counts[id], 0)).toBe(DRAWS);
  });

  it("both ends of the unit interval give a token that has a probability", () => {
    const edge = Float32Array.of(-1000, 0, 0, -1000);
    expect(choose(edge, sampling(), () => 0, "here")).toBe(1);
    expect(choose(edge, sampling(), () => 1 - 2 ** -53, "here")).toBe(2);
    expect(choose(edge, sampling(), () => 1, "here")).toBe(2);
  });

  it("temperature 0, a tiny temperature and topK 1 take the likeliest token, the first of equals", () => {
    const tied = Float32Array.of(1, 3, 3, 2);
    const never = () => {
      throw new Error("asked for randomness");
    };
    expect(choose(tied, sampling({ temperature: 0 }), never, "here")).toBe(1);
    expect(choose(tied, sampling({ topK: 1 }), () => 0.999, "here")).toBe(1);
    expect(choose(Float32Array.of(1, 2, 3, 2), sampling({ temperature: 1e-300 }), () => 0.999, "here")).toBe(2);
  });

  it("depend on seed, sequence and position, each on its own", () => {
    const seen = new Set<number>();
    for (const seed of [0n, 1n, 2n ** 64n - 1n])
      for (let s = 0; s < 40; s++) for (let p = 0; p < 40; p++) seen.add(unitAt(seed, s, p));
    expect(seen.size).toBe(3 * 40 * 40);
    expect(Math.min(...seen)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...seen)).toBeLessThan(1);
    expect(unitAt(7n, 3, 9)).toBe(unitAt(7n, 3, 9));
  });
});

it("log-probabilities are those of a softmax in double precision, whatever the size of the logits", () => {
  for (const shift of [0, 1000, -1000]) {
    const logits = Float32Array.of(1 + shift, 2 + shift, 4 + shift);
    const total = Math.exp(1) + Math.exp(2) + Math.exp(4);
    for (const [id, x] of [1, 2, 4].entries()) expect(logProbability(logits, id)).toBeCloseTo(x - Math.log(total), 12);
  }
});

it.each([Number.NaN, Infinity, -Infinity])("a logit of %d is refused with its place", (bad) => {
  const logits = Float32Array.of(1, 2, bad);
  const error = expect.objectContaining({
    code: "ZO2_ERR_NOT_FINITE",
    message: expect.stringContaining(`sequence 3, position 41: the logit of token 2 is ${bad}`),
  });
  expect(() => likeliest(logits, "sequence 3, position 41")).toThrow(error);
  expect(() => choose(logits, sampling(), () => 0.5, "sequence 3, position 41")).toThrow(error);
});
