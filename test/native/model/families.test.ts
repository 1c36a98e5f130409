import path from "node:path";
import type { ModelOptions } from "../../../src/config/model.js";
import { packBatch, type PackedBatch } from "../../../src/data/index.js";
import type { Model } from "../../../src/model.js";
import { canonicalLength } from "../../../src/ops/parameter.js";
import type { MethodReport } from "../../../src/method/index.js";
import { fixtures, sameBits, sessionOf, takeSteps, weightBits, withModel } from "./helpers.js";

const { fround } = Math;
const folder = (name: string) => path.join(fixtures, "models", name);

/**
 * Every family, with tied and untied heads, transposed weights, grouped queries, windows, and the OPT variant with
 * projections.
 */
const MODELS = [
  "gpt2",
  "llama",
  "llama3-scaled-bf16",
  "mistral-window",
  "qwen2-bf16",
  "qwen3-bf16",
  "opt-350m-style-bin",
  "opt-sharded-fp16",
];

/** Sequences of several lengths, one longer than the window of 16; ids are spread over the 208 of the fixtures. */
const batches: PackedBatch[] = [[23, 5], [40], [2, 9, 31]].map((lengths, b) =>
  packBatch(
    lengths.map((length, s) => {
      const ids = Int32Array.from({ length }, (_, t) => (7 + 31 * t + 53 * s + 101 * b + t * t) % 208);
      return { kind: "tokens" as const, ids, labels: ids.map((id, t) => (t === 0 ? -100 : id)) };
    }),
  ),
);

interface Run {
  readonly results: MethodReport[];
  readonly weights: Uint32Array[];
  readonly units: number;
}

type Offload = NonNullable<ModelOptions["offload"]>;

function run(
  name: string,
  offload: Offload,
  o: Partial<ModelOptions> = {},
  noise: "gaussian" | "rademacher" = "gaussian",
): Promise<Run> {
  return withModel(folder(name), { ...o, offload }, async (model) => {
    const results = await takeSteps(model, batches, () => ({
      seed: 19n,
      eps: 1e-3,
      learningRate: 1e-3,
      weightDecay: 0.1,
      noise,
    }));
    return { results, weights: await weightBits(model), units: model.plan().units.length };
  });
}

describe.each(MODELS)("three steps of %s", (name) => {
  it(
    "streamed in small units equal those with the weights resident, bit for bit, and so do other slots and NaN " +
      "in released memory",
    async () => {
      // Small enough that layers are cut between ops and matrices along their rows.
      const unitBytes = 20_000;
      const streamed = await run(name, { unitBytes, slots: 2 });
      expect(streamed.units).toBeGreaterThan(12);
      for (const [offload, o] of [
        [{ to: "device" as const, unitBytes }, {}],
        [{ unitBytes, slots: 1 }, { test: { poison: true } }],
        [{ unitBytes, slots: 5, overlap: false }, {}],
        [{ unitBytes, slots: 3 }, { test: { delayMicroseconds: 100, delaySeed: 5 } }],
      ] as const) {
        const other = await run(name, offload, o);
        expect(other.results).toEqual(streamed.results);
        expect(sameBits(other.weights, streamed.weights)).toBe(true);
      }
      const untouched = await withModel(folder(name), {}, weightBits);
      streamed.weights.forEach((bits, i) => expect(sameBits([bits], [untouched[i]])).toBe(false));
    },
  );

  it.each(["fp16", "bf16"] as const)(
    "with stochastic rounding, %s on the wire, streamed equal resident",
    async (wire) => {
      const streamed = await run(name, { wire, unitBytes: 20_000 }, { rounding: "stochastic" }, "rademacher");
      const resident = await run(
        name,
        { wire, unitBytes: 20_000, to: "device" },
        { rounding: "stochastic" },
        "rademacher",
      );
      expect(resident.results).toEqual(streamed.results);
      expect(sameBits(resident.weights, streamed.weights)).toBe(true);
    },
  );
});

/** A direction that differs in every element, and is exact in fp32. */
function direction(model: Model, step: number): Float32Array {
  return Float32Array.from(
    { length: canonicalLength(model.parameters) },
    (_, i) => ((((i % 4093) * 977 + 31 * step) % 512) - 255.5) / 128,
  );
}

describe.each(MODELS)("the update of %s", (name) => {
  it("is w - lr g z of every weight, z in the canonical order: each tensor as the checkpoint lays it out", () =>
    withModel(folder(name), { offload: { wire: "fp32", unitBytes: 20_000, slots: 2 } }, async (model) => {
      const z = direction(model, 0);
      const before = new Map<string, Float32Array>();
      for (const { name: key } of model.parameters) before.set(key, await model.parameterValues(key));
      const learningRate = 2e-3;
      const request = { seed: 0n, eps: 1e-3, learningRate, weightDecay: 0, noise: { z } };
      const [{ projectedGradient: g }] = await takeSteps(model, batches.slice(0, 1), () => request);
      const a = fround(learningRate * g);
      expect(Math.abs(a)).toBeGreaterThan(1e-5);
      for (const p of model.parameters) {
        const was = before.get(p.name)!;
        const is = await model.parameterValues(p.name);
        // u = fma(a, z, 0) and w' = w - u round once each; a product of two fp32 numbers is exact in a double.
        const want = was.map((w, i) => fround(w - fround(a * z[p.canonical + i])));
        expect([p.name, Buffer.compare(Buffer.from(is.buffer), Buffer.from(want.buffer))]).toEqual([p.name, 0]);
      }
    }));

  it("has g from the losses at w + eps z and w - eps z, as forward passes with such weights find them", () =>
    withModel(folder(name), { offload: { wire: "fp32", unitBytes: 20_000 } }, async (model) => {
      const z = direction(model, 1);
      const [batch] = batches;
      const losses: number[] = [];
      for (const sign of [1, -1] as const) {
        const [logprobs] = await sessionOf(model).forward([batch], {
          probe: { of: { seed: 0n, step: 0, eps: 1e-3, noise: { z } }, at: { direction: 0, sign } },
        });
        losses.push(-logprobs.reduce((sum, l) => sum + l, 0) / logprobs.length);
      }
      const [result] = await takeSteps(model, [batch], () => ({
        seed: 0n,
        eps: 1e-3,
        learningRate: 1e-3,
        weightDecay: 0,
        noise: { z },
      }));
      expect(Math.abs(result.lossPlus / losses[0] - 1)).toBeLessThan(1e-6);
      expect(Math.abs(result.lossMinus / losses[1] - 1)).toBeLessThan(1e-6);
      expect(result.projectedGradient).toBe(fround((result.lossPlus - result.lossMinus) / 2e-3));
      expect(losses[0]).not.toBe(losses[1]);
    }));
});

it(
  "weights moved by hand to w + eps z have the loss of the probe plus: transposed, tied and normalising weights " +
    "alike",
  async () => {
    const fs = await import("node:fs");
    const os = await import("node:os");
    const work = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-families-"));
    try {
      for (const name of ["gpt2", "qwen3-bf16", "llama", "opt-350m-style-bin"]) {
        const plain = path.join(work, name);
        const moved = path.join(work, `${name}-moved`);
        await withModel(folder(name), {}, (model) => model.save(plain, { dtype: "fp32" }));
        const lossPlus = await withModel(plain, {}, async (model) => {
          const z = direction(model, 2);
          const file = fs.readFileSync(path.join(plain, "model.safetensors"));
          const length = Number(file.readBigUInt64LE(0));
          const header = JSON.parse(file.subarray(8, 8 + length).toString());
          for (const p of model.parameters) {
            const start = 8 + length + header[p.name].data_offsets[0];
            for (let i = 0; i < p.count; i++)
              file.writeFloatLE(file.readFloatLE(start + 4 * i) + 1e-3 * z[p.canonical + i], start + 4 * i);
          }
          fs.cpSync(plain, moved, { recursive: true });
          fs.writeFileSync(path.join(moved, "model.safetensors"), file);
          const [step] = await takeSteps(model, batches.slice(0, 1), () => ({
            seed: 0n,
            eps: 1e-3,
            learningRate: 1e-3,
            weightDecay: 0,
            noise: { z },
          }));
          return step.lossPlus;
        });
        const [logprobs] = await withModel(moved, {}, (model) => sessionOf(model).forward(batches.slice(0, 1)));
        const loss = -logprobs.reduce((sum, l) => sum + l, 0) / logprobs.length;
        expect(Math.abs(lossPlus / loss - 1)).toBeLessThan(2e-6);
      }
    } finally {
      fs.rmSync(work, { recursive: true, force: true });
    }
  },
);
