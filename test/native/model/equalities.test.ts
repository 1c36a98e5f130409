import path from "node:path";
import type { ModelOptions } from "../../../src/config/model.js";
import type { TrainerOptions } from "../../../src/config/trainer.js";
import { Trainer, type Step } from "../../../src/train/trainer.js";
import type { Model } from "../../../src/model.js";
import { packBatch } from "../../../src/data/index.js";
import type { PassObserver } from "../../../src/device/options.js";
import type { Work } from "../../../src/schedule/command.js";
import { AT_WEIGHTS } from "../../../src/method/index.js";
import type { Pass } from "../../../src/schedule/facts.js";
import {
  fixtures,
  mezo,
  readJson,
  sameBits,
  sessionOf,
  takeStep,
  takeSteps,
  weightBits,
  withModel,
  type MezoStep,
  some,
} from "./helpers.js";

const dir = path.join(fixtures, "trajectories/models/A");
const inputs = readJson("trajectories", "inputs-A.json");
const examples: { ids: number[] }[] = inputs.train.flatMap((b: { input_ids: number[][]; attention_mask: number[][] }) =>
  b.input_ids.map((row, r) => ({ ids: row.filter((_, t) => b.attention_mask[r][t] === 1) })),
);

interface Outcome {
  readonly numbers: number[];
  readonly weights: Uint32Array[];
  readonly evaluation: number;
}

async function train(
  options: ModelOptions,
  trainer: Partial<TrainerOptions> = {},
  use?: (model: Model, step: Step) => Promise<void>,
): Promise<Outcome> {
  return withModel(dir, options, async (model) => {
    const numbers: number[] = [];
    const method = {
      name: "mezo-sgd" as const,
      learningRate: 5e-4,
      eps: 1e-3,
      weightDecay: 0.1,
      schedule: { name: "linear" as const },
    };
    for await (const step of new Trainer(model, { method, steps: 6, batchSize: 4, seed: 7, ...trainer }).fit(
      examples,
    )) {
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
const host = (
  o: Partial<NonNullable<ModelOptions["offload"]>> = {},
  rest: Partial<ModelOptions> = {},
): ModelOptions => ({ ...rest, offload: { wire: "fp32", unitBytes, ...o } });
let reference: Outcome;
beforeAll(async () => {
  reference = await train(host({ prepareAhead: "off" }));
});

/** What changes when weights are written back, and where they are prepared. */
const RHYTHMS = [
  { writeBackEvery: 2, prepareAhead: "on" },
  { writeBackEvery: 1, prepareAhead: "off" },
  { writeBackEvery: 7, prepareAhead: "on" },
  { writeBackEvery: 7, prepareAhead: "off" },
  { writeBackEvery: 2, prepareAhead: "off" },
  { writeBackEvery: 1, prepareAhead: "on" },
] as const;

describe.each(some(RHYTHMS, 1))("a streamed run, %o, bit for bit,", (rhythm) => {
  const host = (o: Partial<NonNullable<ModelOptions["offload"]>> = {}, rest: Partial<ModelOptions> = {}) => ({
    ...rest,
    offload: { wire: "fp32" as const, unitBytes, ...rhythm, ...o },
  });

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
    expectSame(
      reference,
      await train(host({ slots: 2 }, { test: { delayMicroseconds: 300, delaySeed, poison: true } })),
    );
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
    expectSame(
      reference,
      await train(host(), {}, async (model) => {
        seen.push((await model.evaluate(examples.slice(0, 8))).loss);
      }),
    );
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen.at(-1)).toBe(reference.evaluation);
  });

  it("equals a run that was left after each step and gone on with", async () => {
    const outcome = await withModel(dir, host(), async (model): Promise<Outcome> => {
      const method = {
        name: "mezo-sgd" as const,
        learningRate: 5e-4,
        eps: 1e-3,
        weightDecay: 0.1,
        schedule: { name: "linear" as const },
      };
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
        for await (const step of new Trainer(model, {
          method: { name: "mezo-sgd", learningRate: 5e-4 },
          steps: 6,
          batchSize: 4,
          seed: 7,
        }).fit(examples)) {
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
          const batch = packBatch(
            rows.map((r) => encodeExample(null, parse(r, "row"), { maxLength: 128, vocabSize: 512 })),
          );
          const settings = { seed: 7n, eps: 1e-3, learningRate: 5e-4, weightDecay: 0, noise: "gaussian" } as const;
          await takeStep(model, [batch], { step, ...settings });
          sessionOf(model).commit();
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

/**
 * Both have 208 words; one is stored in bf16, so that its units have to be prepared, the other in fp32, so that most
 * can be read as they lie.
 */
const FAMILIES = ["llama3-scaled-bf16", "gpt2"] as const;
const sequences = Array.from({ length: 4 }, (_, i) =>
  Int32Array.from({ length: 20 + 3 * i }, (_, t) => (i * 71 + t * t * 13 + t * 29) % 208),
);
const batchOf = (...of: Int32Array[]) => packBatch(of.map((ids) => ({ kind: "tokens", ids, labels: ids })));
const stepBatches = [batchOf(sequences[0], sequences[1]), batchOf(sequences[2]), batchOf(sequences[3], sequences[0])];
const held = batchOf(sequences[1], sequences[3]);
const request = (step: number): MezoStep => ({
  step,
  seed: 3n,
  eps: 1e-3,
  learningRate: 1e-2,
  weightDecay: 0.1,
  noise: "gaussian",
});
/** Of one micro-batch: a sum in fp64, in batch order. */
const meanLoss = ([logprobs]: Float32Array[]) => -logprobs.reduce((sum, x) => sum + x, 0) / logprobs.length;
const kindOf = ({ probes, yields }: Pass) => {
  if (probes.length === 0) return "flush";
  return yields === "coefficients" ? "train" : "forward";
};
const bits = (values: Float32Array[]) => values.map((v) => [...new Uint32Array(v.buffer)]);

const rhythmic = FAMILIES.flatMap((name, f) => RHYTHMS.slice(0, f === 0 ? 6 : 2).map((rhythm) => ({ name, rhythm })));

describe.each(some(rhythmic, 1))("$name, $rhythm", ({ name, rhythm }) => {
  const folder = path.join(fixtures, "models", name);
  const plain = { unitBytes: 20_000 };
  const offload = { ...plain, ...rhythm };
  const steps = (options: ModelOptions, between?: (model: Model) => Promise<void>) =>
    withModel(folder, options, async (model) => {
      const numbers: number[] = [];
      for (const [step, batch] of stepBatches.entries()) {
        const [result] = await takeSteps(model, [batch], () => request(step));
        numbers.push(result.lossPlus, result.lossMinus, result.projectedGradient);
        await between?.(model);
      }
      const evaluation = bits(await sessionOf(model).forward([held]));
      return { numbers, evaluation, weights: await weightBits(model) };
    });
  let streamed: Awaited<ReturnType<typeof steps>>;
  beforeAll(async () => {
    streamed = await steps({ offload: { ...plain, prepareAhead: "off" } });
  });
  const expectEqual = (other: typeof streamed) => {
    expect([other.numbers, other.evaluation]).toEqual([streamed.numbers, streamed.evaluation]);
    expect(sameBits(other.weights, streamed.weights)).toBe(true);
  };

  const places = [{ to: "device" }, { slots: 1 }, { slots: 2 }, { slots: 100 }, { overlap: false }] as const;
  it.each(some(places, 2))("takes the same steps with %o, bit for bit", async (other) => {
    expectEqual(await steps({ offload: { ...offload, ...other } }));
    expect(sameBits(streamed.weights, await withModel(folder, { offload }, weightBits))).toBe(false);
  });

  it.each(some([places[1], places[0]], 1))(
    "takes the same steps when what is released is NaN and commands are late (%o)",
    async (other) => {
      expectEqual(
        await steps({
          offload: { ...offload, ...other },
          test: { poison: true, delayMicroseconds: 200, delaySeed: 4 },
        }),
      );
    },
  );

  it.each(some([2, 1, 5], 1))(
    "takes the same steps when each is followed by %d forward passes, plain, perturbed and evaluated",
    async (passes) => {
      expectEqual(
        await steps({ offload }, async (model) => {
          for (let i = 0; i < passes; i++) {
            await sessionOf(model).forward([held]);
            const sign = i % 2 === 0 ? 1 : -1;
            await sessionOf(model).forward([held], { probe: { of: request(9), at: { direction: 0, sign } } });
          }
          await model.evaluate(
            sequences.map((ids) => ({ ids: [...ids] })),
            { batchSize: 2 },
          );
        }),
      );
    },
  );

  const pendingInScratch = "a forward pass that works a pending update out gives the bits of one after a flush (%s)";
  it.each(["nearest", "stochastic"] as const)(pendingInScratch, async (rounding) => {
    for (const to of ["host", "device"] as const) {
      await withModel(folder, { rounding, offload: { ...offload, to } }, async (model) => {
        const before = bits(await sessionOf(model).forward([held]));
        await takeSteps(model, stepBatches.slice(0, 1), request);
        const seen = [];
        // The third pass comes after a flush of the session's own.
        for (let i = 0; i < 3; i++) seen.push(bits(await sessionOf(model).forward([held])));
        await sessionOf(model).flush();
        const after = bits(await sessionOf(model).forward([held]));
        expect(seen).toEqual([after, after, after]);
        expect(before).not.toEqual(after);
      });
    }
  });

  it("a perturbed forward pass has the loss of that side of the step", async () => {
    await withModel(folder, { offload }, async (model) => {
      await takeSteps(model, stepBatches.slice(0, 1), request);
      const sides = [];
      for (const sign of [1, -1] as const)
        sides.push(
          meanLoss(await sessionOf(model).forward([held], { probe: { of: request(1), at: { direction: 0, sign } } })),
        );
      const { lossPlus, lossMinus } = await takeStep(model, [held], request(1));
      expect(sides).toEqual([lossPlus, lossMinus]);
      expect(lossPlus).not.toBe(lossMinus);
    });
  });

  it("takes the same steps when the caller computes the losses from the results of both probes", async () => {
    const outcome = await withModel(folder, { offload }, async (model) => {
      const numbers: number[] = [];
      for (const [step, batch] of stepBatches.entries()) {
        const probes = await sessionOf(model).probe([batch], mezo(request(step)));
        const { losses, coefficients } = await sessionOf(model).finish(mezo(request(step)), probes.map(meanLoss));
        sessionOf(model).commit();
        numbers.push(...losses, ...coefficients);
      }
      return { numbers, evaluation: bits(await sessionOf(model).forward([held])), weights: await weightBits(model) };
    });
    expectEqual(outcome);
  });
});

describe.each(some(FAMILIES, 1))("%s", (name) => {
  const folder = path.join(fixtures, "models", name);
  const offload = { unitBytes: 20_000 };

  describe.each(["host", "device"] as const)(
    "with its weights in %s memory, in the trace of evaluation and scoring after steps,",
    (to) => {
      const passes: { pass: Pass; work: readonly Work[] }[] = [];
      const forwards = () => passes.filter(({ pass }) => kindOf(pass) === "forward");
      const prepared = (work: readonly Work[]) => work.flatMap((w) => (w.kind === "prepare" ? [w] : []));
      let units: { readonly direct: boolean; readonly trained: boolean }[] = [];
      const onPass: PassObserver = (pass, commands) => passes.push({ pass, work: commands.map(({ work }) => work) });
      beforeAll(() =>
        withModel(folder, { offload: { ...offload, to }, test: { onPass } }, async (model) => {
          await takeSteps(model, stepBatches.slice(0, 2), request);
          await model.evaluate(
            sequences.map((ids) => ({ ids: [...ids] })),
            { batchSize: 1 },
          );
          await takeSteps(model, stepBatches.slice(2), () => request(2));
          for await (const _ of model.score(
            sequences.slice(0, 2).map((ids) => ({ ids: [...ids] })),
            { batchSize: 1 },
          ));
          const plan = sessionOf(model).plan ?? { units: [] };
          units = plan.units.map(({ gathered, tensors }) => ({
            direct: gathered === null && tensors.every((t) => t.wire === t.scratch),
            trained: tensors.length > 0,
          }));
        }),
      );

      it("nothing is stored but by the flush that is cheaper than a third pass", () => {
        expect(passes.map(({ pass }) => `${kindOf(pass)}${pass.pending.length > 0 ? " with an update" : ""}`)).toEqual([
          "train",
          "train with an update",
          "forward with an update",
          "forward with an update",
          "flush with an update",
          "forward",
          "forward",
          "train",
          "forward with an update",
          "forward with an update",
        ]);
        for (const { work } of forwards()) {
          expect(work.filter((w) => w.kind === "offload")).toEqual([]);
          expect(prepared(work).filter((w) => w.store)).toEqual([]);
        }
      });

      it("one probe runs", () => {
        for (const { work } of forwards()) {
          expect(work.flatMap((w) => (w.kind === "run" ? [[w.unit, w.probe]] : []))).toEqual(
            units.map((_, u) => [u, 0]),
          );
        }
      });

      it(
        "weights are prepared without noise, and only where something is pending or they are not in the compute " +
          "dtype",
        () => {
          expect(new Set(units.map(({ direct }) => direct))).toEqual(
            new Set(name === "gpt2" ? [true, false] : [false]),
          );
          for (const { pass, work } of forwards()) {
            expect(pass.probes).toEqual([AT_WEIGHTS]);
            const update = pass.pending.length > 0;
            expect(prepared(work).map((w) => [w.unit, w.update])).toEqual(
              units.flatMap(({ direct, trained }, u) =>
                direct && !(update && trained) ? [] : [[u, update && trained]],
              ),
            );
          }
        },
      );
    },
  );
});

describe("with a device smaller than the model", () => {
  const tiny = path.join(fixtures, "../../docs/demo/tiny-opt");
  const wide = { unitBytes: 200_000, slots: 2 };
  const texts = examples.slice(0, 8).map((e) => ({ ids: e.ids.slice(0, 40) }));
  const run = async (model: Model) => {
    for await (const _ of new Trainer(model, {
      method: { name: "mezo-sgd", learningRate: 1e-6 },
      steps: 3,
      batchSize: 2,
      microBatchSize: 1,
      maxLength: 64,
    }).fit(texts));
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
        for await (const _ of new Trainer(model, {
          method: { name: "mezo-sgd", learningRate: 1e-6 },
          steps: 2,
          batchSize: 1,
        }).fit([example]));
      }
      return model.deviceInfo().deviceBytesPeak;
    };
    const largest = await withModel(tiny, { offload: wide }, (model) => fit(model, growing.slice(-1)));
    expect(
      await withModel(tiny, { offload: { ...wide, deviceMemory: largest } }, (model) => fit(model, growing)),
    ).toBeLessThanOrEqual(largest);
  });

  it("a budget that cannot hold the plan is refused before anything runs, and the model stays usable", async () => {
    // What a sequence of two tokens needs: more than the step that is taken.
    const [deviceMemory, text] = ["1600KiB", "1.6 MiB is allowed"];
    await withModel(tiny, { offload: { ...wide, deviceMemory } }, async (model) => {
      await expect(run(model)).rejects.toMatchObject({
        code: "ZO2_ERR_MEMORY_BUDGET",
        message: expect.stringContaining(text),
      });
      expect((await model.parameterValues("model.decoder.final_layer_norm.weight")).length).toBe(256);
    });
  });

  it("weights that have to stay on a device too small for them are refused before any is read", async () => {
    for (const to of ["device", "host"] as const)
      await expect(withModel(tiny, { offload: { to, deviceMemory: "1MiB" } }, run)).rejects.toMatchObject({
        code: "ZO2_ERR_MEMORY_BUDGET",
        message: expect.stringContaining("1 MiB is allowed"),
      });
  });
});
