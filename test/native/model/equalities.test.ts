import path from "node:path";
import type { ModelOptions } from "../../../src/config/model.js";
import type { TrainerOptions } from "../../../src/config/trainer.js";
import { Trainer, type Step } from "../../../src/train/trainer.js";
import type { Model } from "../../../src/model.js";
import { fixtures, readJson, sameBits, weightBits, withModel } from "./helpers.js";

const dir = path.join(fixtures, "trajectories/models/A");
const inputs = readJson("trajectories", "inputs-A.json");
const examples: { ids: number[] }[] = inputs.train.flatMap((b: { input_ids: number[][]; attention_mask: number[][] }) =>
  b.input_ids.map((row, r) => ({ ids: row.filter((_, t) => b.attention_mask[r][t] === 1) })));

interface Outcome {
  readonly numbers: number[];
  readonly weights: Uint32Array[];
  readonly evaluation: number;
}

async function train(options: ModelOptions, trainer: Partial<TrainerOptions> = {}, use?: (model: Model, step: Step) => Promise<void>): Promise<Outcome> {
  return withModel(dir, options, async (model) => {
    const numbers: number[] = [];
    const method = { name: "mezo-sgd" as const, learningRate: 5e-4, eps: 1e-3, weightDecay: 0.1, schedule: { name: "linear" as const } };
    for await (const step of new Trainer(model, { method, steps: 6, batchSize: 4, seed: 7, ...trainer }).fit(examples)) {
      numbers.push(step.lossPlus, step.lossMinus, step.projectedGradient, step.learningRate);
      await use?.(model, step);
    }
    const { loss } = await model.evaluate(examples.slice(0, 8));
    return { numbers, weights: await weightBits(model), evaluation: loss };
  });
}

function expectSame(a: Outcome, b: Outcome): void {
  expect(b.numbers).toEqual(a.numbers);
  expect(b.evaluation).toBe(a.evaluation);
  expect(sameBits(a.weights, b.weights)).toBe(true);
}

// One unit plan for all: equality holds for a given plan.
const unitBytes = 60_000;
const host = (o: Partial<NonNullable<ModelOptions["offload"]>> = {}, rest: Partial<ModelOptions> = {}): ModelOptions => ({ ...rest, offload: { wire: "fp32", unitBytes, ...o } });
let reference: Outcome;
beforeAll(async () => {
  reference = await train(host());
});

describe("a streamed run, bit for bit,", () => {
  it("is the same twice, and moves the weights", async () => {
    expectSame(reference, await train(host()));
    const untouched = await withModel(dir, host(), weightBits);
    expect(sameBits(untouched, reference.weights)).toBe(false);
  });

  it("equals a resident run", async () => {
    expectSame(reference, await train(host({ to: "device" })));
  });

  it.each([1, 2, 5, 100])("equals a run with %d slots", async (slots) => {
    expectSame(reference, await train(host({ slots })));
  });

  it("equals a run without overlap", async () => {
    expectSame(reference, await train(host({ overlap: false })));
  });

  it.each([1, 2, 3])("equals a run with random delays in every command (seed %d)", async (delaySeed) => {
    expectSame(reference, await train(host({ slots: 2 }, { test: { delayMicroseconds: 300, delaySeed, poison: true } })));
  });

  it("equals a run in which released slots, scratch and staging are NaN", async () => {
    expectSame(reference, await train(host({ slots: 1 }, { test: { poison: true } })));
    expectSame(reference, await train(host({ to: "device" }, { test: { poison: true } })));
  });

  it("equals a run whose updates are applied at once", async () => {
    expectSame(reference, await train(host(), { deferredUpdate: false }));
  });

  it("equals a run that evaluates after every step, with the next step in flight", async () => {
    const seen: number[] = [];
    expectSame(reference, await train(host(), {}, async (model) => {
      seen.push((await model.evaluate(examples.slice(0, 8))).loss);
    }));
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen.at(-1)).toBe(reference.evaluation);
  });

  it("equals a run that was left after each step and gone on with", async () => {
    const outcome = await withModel(dir, host(), async (model): Promise<Outcome> => {
      const method = { name: "mezo-sgd" as const, learningRate: 5e-4, eps: 1e-3, weightDecay: 0.1, schedule: { name: "linear" as const } };
      const trainer = new Trainer(model, { method, steps: 6, batchSize: 4, seed: 7 });
      const numbers: number[] = [];
      while (trainer.stepsTaken < 6) {
        for await (const step of trainer.fit(examples)) {
          numbers.push(step.lossPlus, step.lossMinus, step.projectedGradient, step.learningRate);
          break;
        }
      }
      const { loss } = await model.evaluate(examples.slice(0, 8));
      return { numbers, weights: await weightBits(model), evaluation: loss };
    });
    expectSame(reference, outcome);
  });

  it("equals itself after saving and loading halfway, given the same steps", async () => {
    const os = await import("node:os");
    const fs = await import("node:fs/promises");
    const out = await fs.mkdtemp(path.join(os.tmpdir(), "zo2-half-"));
    try {
      const weights = await withModel(dir, host(), async (model) => {
        for await (const step of new Trainer(model, { method: { name: "mezo-sgd", learningRate: 5e-4 }, steps: 6, batchSize: 4, seed: 7 }).fit(examples)) {
          if (step.index === 2) await model.save(path.join(out, "half"));
        }
        return weightBits(model);
      });
      const resumed = await withModel(path.join(out, "half"), host(), async (model) => {
        const { Sampler, packBatch, encodeExample, exampleParser } = await import("../../../src/data/index.js");
        const sampler = new Sampler({ size: examples.length, seed: 7n });
        const parse = exampleParser();
        for (let step = 0; step < 6; step++) {
          const rows = Array.from({ length: 4 }, () => examples[sampler.next()]);
          if (step < 3) continue;
          const batch = packBatch(rows.map((r) => encodeExample(null, parse(r, "row"), { maxLength: 128, vocabSize: 512 })));
          await (await model.engine.train([batch], { step, seed: 7n, eps: 1e-3, learningRate: 5e-4, weightDecay: 0, noise: "gaussian" })).result;
          model.engine.commit();
        }
        return weightBits(model);
      });
      expect(sameBits(weights, resumed)).toBe(true);
    } finally {
      await fs.rm(out, { recursive: true, force: true });
    }
  });
});

it("micro-batches add up to the batch: losses within rounding, labels counted once", async () => {
  const whole = await train(host(), { steps: 1 });
  const split = await train(host(), { steps: 1, microBatchSize: 1 });
  for (let i = 0; i < 2; i++) expect(Math.abs(whole.numbers[i] - split.numbers[i])).toBeLessThan(1e-6);
});

it("frozen parameters do not move, and keep their place in the noise of the others", async () => {
  const freeze = ["model.decoder.layers.1.*", "*embed_positions*"];
  const frozen = await train(host(), { steps: 1, freeze, test: { projectedGradient: () => 1.5 } });
  const free = await train(host(), { steps: 1, test: { projectedGradient: () => 1.5 } });
  await withModel(dir, host(), async (model) => {
    const start = await weightBits(model);
    model.parameters.forEach((p, i) => {
      const still = /layers\.1\.|embed_positions/.test(p.name);
      expect([p.name, sameBits([frozen.weights[i]], [start[i]])]).toEqual([p.name, still]);
      if (!still) expect(sameBits([frozen.weights[i]], [free.weights[i]])).toBe(true);
    });
  });
});

it.each(["fp16", "bf16"] as const)("%s on the wire: streamed equals resident, and biases stay fp32", async (wire) => {
  const streamed = await train({ offload: { wire, unitBytes } });
  expectSame(streamed, await train({ offload: { wire, unitBytes, to: "device" } }));
  const mask = wire === "fp16" ? 0x1fff : 0xffff;
  await withModel(dir, {}, async (model) => {
    model.parameters.forEach((p, i) => {
      const narrow = streamed.weights[i].every((bits) => (bits & mask) === 0 || (bits & 0x7f800000) < 0x38800000);
      expect([p.name, narrow]).toEqual([p.name, p.shape.length === 2]);
    });
  });
});

describe("with a device smaller than the model", () => {
  const tiny = path.join(fixtures, "../../models/tiny-opt");
  const wide = { unitBytes: 200_000, slots: 2 };
  const texts = examples.slice(0, 8).map((e) => ({ ids: e.ids.slice(0, 40) }));
  const run = async (model: Model) => {
    for await (const _ of new Trainer(model, { method: { name: "mezo-sgd", learningRate: 1e-6 }, steps: 3, batchSize: 2, microBatchSize: 1, maxLength: 64 }).fit(texts));
    return model.deviceInfo().deviceBytesPeak;
  };

  it("training streams: the device's high-water mark stays below the weights' size and within the budget", async () => {
    const needed = await withModel(tiny, { offload: wide }, run);
    expect(needed).toBeLessThan((await withModel(tiny, {}, async (model) => model.parameterCount * 2)) / 2);
    expect(await withModel(tiny, { offload: { ...wide, deviceMemory: needed } }, run)).toBeLessThanOrEqual(needed);
  });

  it("a plan that grows with the batches never holds the old and the new arena at once", async () => {
    const growing = [8, 20, 30, 40, 60].map((length) => ({ ids: Array.from({ length }, (_, i) => i + 4) }));
    const fit = async (model: Model, data: object[]) => {
      for (const example of data) {
        for await (const _ of new Trainer(model, { method: { name: "mezo-sgd", learningRate: 1e-6 }, steps: 2, batchSize: 1 }).fit([example]));
      }
      return model.deviceInfo().deviceBytesPeak;
    };
    const largest = await withModel(tiny, { offload: wide }, (model) => fit(model, growing.slice(-1)));
    expect(await withModel(tiny, { offload: { ...wide, deviceMemory: largest } }, (model) => fit(model, growing))).toBeLessThanOrEqual(largest);
  });

  it("a budget that cannot hold the plan is refused before anything runs, and the model stays usable", async () => {
    await withModel(tiny, { offload: { ...wide, deviceMemory: "1MiB" } }, async (model) => {
      await expect(run(model)).rejects.toMatchObject({ code: "ZO2_ERR_MEMORY_BUDGET", message: expect.stringContaining("1 MiB is allowed") });
      expect((await model.parameterValues("model.decoder.final_layer_norm.weight")).length).toBe(256);
    });
  });

  it("weights that have to stay on a device too small for them are refused", async () => {
    await expect(withModel(tiny, { offload: { to: "device", deviceMemory: "1MiB" } }, run)).rejects.toMatchObject({ code: "ZO2_ERR_OUT_OF_MEMORY" });
  });
});
