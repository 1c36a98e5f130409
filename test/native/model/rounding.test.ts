/**
 * How an updated weight is rounded to the wire dtype. The update is known (a direction of ones, a given gradient), so
 * that the exact weight is: nearest is its nearest neighbour, stochastic is one of its two neighbours, and the exact
 * weight on average.
 */
import path from "node:path";
import type { ModelOptions } from "../../../src/config/model.js";
import { packBatch } from "../../../src/data/index.js";
import { canonicalLength } from "../../../src/ops/parameter.js";
import { fixtures, takeSteps, withModel } from "./helpers.js";

const ids = Int32Array.from({ length: 12 }, (_, t) => (t * 29 + 7) % 208);
const batch = packBatch([{ kind: "tokens", ids, labels: ids }]);
/** About an eighth of what separates weights of 0.02 in bf16, and a half of that in fp16. */
const UPDATE = 2 ** -16;

const { abs, floor, log2, max, fround, sqrt } = Math;

/** The distance to the next number of the dtype, for magnitudes like that of `v`. */
const spacing = {
  fp16: (v: number) => 2 ** (max(-14, v === 0 ? -14 : floor(log2(abs(v)))) - 10),
  bf16: (v: number) => 2 ** (max(-126, v === 0 ? -126 : floor(log2(abs(v)))) - 7),
};

interface Rounded {
  readonly name: string;
  readonly matrix: boolean;
  /** Before the update, as fp32 has it; after it. */
  readonly before: Float32Array;
  readonly after: Float32Array;
}

function updated(name: string, options: ModelOptions, seed = 3n): Promise<Rounded[]> {
  return withModel(path.join(fixtures, "models", name), options, async (model) => {
    const values = async () => {
      const all: Float32Array[] = [];
      for (const p of model.parameters) all.push(await model.parameterValues(p.name));
      return all;
    };
    const z = new Float32Array(canonicalLength(model.parameters)).fill(1);
    const before = await values();
    const step = { seed, eps: 1e-3, learningRate: UPDATE, weightDecay: 0, noise: { z }, projectedGradient: 1 };
    await takeSteps(model, [batch], () => step);
    const after = await values();
    return model.parameters.map(({ name, shape }, i) => ({
      ...{ name, matrix: shape.length > 1, before: before[i], after: after[i] },
    }));
  });
}

const bitsOf = (rounded: readonly Rounded[]) => Buffer.concat(rounded.map(({ after }) => Buffer.from(after.buffer)));

describe.each([
  ["opt-sharded-fp16", "fp16"],
  ["llama3-scaled-bf16", "bf16"],
] as const)("%s, whose wire dtype is %s,", (name, wire) => {
  let nearest: Rounded[];
  let stochastic: Rounded[];
  beforeAll(async () => {
    nearest = await updated(name, {});
    stochastic = await updated(name, { rounding: "stochastic" });
  });

  /** Of every weight of the matrices: the exact one, its lower neighbour, the spacing there, and what became of it. */
  function* weights(rounded: readonly Rounded[]) {
    for (const { matrix, before, after } of rounded) {
      if (!matrix) continue;
      for (let i = 0; i < before.length; i++) {
        const exact = fround(before[i] - UPDATE);
        const step = spacing[wire](exact);
        yield { exact, low: floor(exact / step) * step, step, got: after[i] };
      }
    }
  }

  it("rounds to nearest, ties to even, unless it is told otherwise", () => {
    let wrong = 0;
    for (const { exact, low, step, got } of weights(nearest)) {
      const rest = (exact - low) / step;
      const up = rest > 0.5 || (rest === 0.5 && (low / step) % 2 !== 0);
      if (got !== (up ? low + step : low)) wrong++;
    }
    expect(wrong).toBe(0);
  });

  it("rounds stochastically to one of the two neighbours, and to the exact weight on average", () => {
    let wrong = 0;
    let count = 0;
    let error = 0;
    let variance = 0;
    for (const { exact, low, step, got } of weights(stochastic)) {
      const rest = (exact - low) / step;
      if (got !== low && (got !== low + step || rest === 0)) wrong++;
      count++;
      error += (got - exact) / step;
      variance += rest * (1 - rest);
    }
    expect(wrong).toBe(0);
    expect(variance).toBeGreaterThan(count / 50);
    expect(abs(error)).toBeLessThan(5 * sqrt(variance));
    // Rounding to nearest is far from that: most weights do not move at all, or all of one kind move too far.
    let off = 0;
    for (const { exact, step, got } of weights(nearest)) off += (got - exact) / step;
    expect(abs(off)).toBeGreaterThan(20 * sqrt(variance));
  });

  it("leaves vectors, which are fp32, exact either way", () => {
    for (const { matrix, before, after } of [...nearest, ...stochastic])
      if (!matrix) expect(after).toEqual(before.map((w) => w - UPDATE));
  });

  it("rounds alike in every run, streamed or resident, and otherwise with another seed", async () => {
    const again = (to: "host" | "device", seed?: bigint) =>
      updated(name, { rounding: "stochastic", offload: { to, unitBytes: 20_000 } }, seed);
    expect(bitsOf(await again("host")).equals(bitsOf(stochastic))).toBe(true);
    expect(bitsOf(await again("device")).equals(bitsOf(stochastic))).toBe(true);
    expect(bitsOf(await again("host", 4n)).equals(bitsOf(stochastic))).toBe(false);
    expect(bitsOf(nearest).equals(bitsOf(stochastic))).toBe(false);
  });
});
