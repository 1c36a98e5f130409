import type { RunHeader } from "../../../src/journal/header.js";
import type { StepRecord } from "../../../src/journal/record.js";

export const HEADER: RunHeader = {
  format: 1,
  package: "0.1.0",
  created: "2026-11-30T00:00:00.000Z",
  base: {
    name: "opt-125m",
    config: "0".repeat(32),
    tensors: [{ name: "w", shape: [4, 2], wire: "fp16", hash: "0123456789abcdef".repeat(2) }],
  },
  numerics: { compute: "fp32", rounding: "nearest", tf32: false },
  training: { method: { name: "mezo-sgd" }, seed: "7" },
  method: { probes: 2, directions: 1, noise: "gaussian", weightDecay: 0, frozen: [], seed: "7" },
  data: { path: "train.jsonl", examples: 100, hash: "f".repeat(32) },
};

/** Steps with any losses, coefficients as fp32 has them, and rates that fall as half a cosine. */
export function stepsOf(count: number, seed = 1): StepRecord[] {
  let state = seed;
  const random = () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
  return Array.from({ length: count }, (_, step) => ({
    step,
    shards: [{ labelled: 16, losses: [random() * 3, random() * 3] }],
    coefficients: [Math.fround((random() - 0.5) * 200)],
    learningRate: 1e-6 * 0.5 * (1 + Math.cos((Math.PI * step) / 20000)),
  }));
}
