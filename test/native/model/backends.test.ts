import path from "node:path";
import type { ModelOptions } from "../../../src/config/model.js";
import type { PackedBatch } from "../../../src/data/index.js";
import { DEVICE } from "../device.js";
import { fixtures, packed, readJson, sameBits, takeSteps, weightBits, withModel } from "./helpers.js";

const dir = path.join(fixtures, "trajectories/models/A");
const batches: PackedBatch[] = readJson("trajectories", "inputs-A.json").train.map(packed);
const MOST_TOKENS = 256;

/** Half the spacing of the compute dtype at 1; both backends round in the same places, and add in other orders. */
const ROUNDOFF = { fp32: 2 ** -24, fp16: 2 ** -11, bf16: 2 ** -8 };

/**
 * Steps over model A with g from outside where it is given; the losses and g of every step, and the weights after the
 * last.
 */
function run(device: "cpu" | "cuda", options: ModelOptions, steps: number, gradients: readonly number[] | null) {
  return withModel(dir, { ...options, device }, async (model) => {
    const results = await takeSteps(
      model,
      Array.from({ length: steps }, (_, s) => batches[s % batches.length]),
      (step) => ({
        seed: 11n,
        eps: 1e-3,
        learningRate: 2e-3,
        weightDecay: 0.01,
        noise: step % 2 === 0 ? "gaussian" : "rademacher",
        ...(gradients === null ? {} : { projectedGradient: gradients[step] }),
      }),
    );
    return { results, weights: await weightBits(model) };
  });
}

const onCuda = DEVICE === "cuda" ? describe : describe.skip;
onCuda("a training run on the CUDA backend (ZO2_TEST_DEVICE=cuda)", () => {
  it.each([
    { dtype: "fp16", wire: "fp16", steps: 50, rounding: "nearest" },
    { dtype: "bf16", wire: "bf16", steps: 8, rounding: "stochastic" },
    { dtype: "fp32", wire: "fp32", steps: 8, rounding: "nearest" },
  ] as const)(
    "$steps steps, computed in $dtype, $wire wire, $rounding rounding: given the same g, every weight has the " +
      "bits of the CPU backend, and the losses agree within the dtype",
    async ({ dtype, wire, steps, rounding }) => {
      expect(Math.max(...batches.map((b) => b.tokens.length))).toBeLessThanOrEqual(MOST_TOKENS);
      const options: ModelOptions = { dtype, rounding, offload: { to: "host", wire, slots: 2, unitBytes: 60_000 } };
      const cpu = await run("cpu", options, steps, null);
      const gradients = cpu.results.map((r) => r.projectedGradient);
      const cuda = await run("cuda", options, steps, gradients);
      expect(sameBits(cpu.weights, cuda.weights)).toBe(true);
      expect(cuda.results.map((r) => r.projectedGradient)).toEqual(gradients);
      cpu.results.forEach(({ lossPlus, lossMinus }, step) => {
        const tolerance = 8 * ROUNDOFF[dtype] * lossPlus;
        expect(Math.abs(cuda.results[step].lossPlus - lossPlus)).toBeLessThanOrEqual(tolerance);
        expect(Math.abs(cuda.results[step].lossMinus - lossMinus)).toBeLessThanOrEqual(tolerance);
      });
      const untouched = await withModel(dir, { ...options, device: "cpu" }, weightBits);
      expect(sameBits(untouched, cpu.weights)).toBe(false);
    },
  );
});
