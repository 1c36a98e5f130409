import path from "node:path";
import type { ModelOptions } from "../../../src/config/model.js";
import type { LogitOutput, ObjectiveContext } from "../../../src/config/objective.js";
import type { TrainerOptions } from "../../../src/config/trainer.js";
import { loadModel } from "../../../src/load.js";
import type { Model } from "../../../src/model.js";
import { Trainer, type Step } from "../../../src/train/trainer.js";
import { DEVICE } from "../device.js";
import { fixtures, readJson, sameBits, sessionOf, weightBits, withModel } from "./helpers.js";

type Objective = NonNullable<TrainerOptions["objective"]>;
type Ids = readonly number[];

const dir = path.join(fixtures, "trajectories/models/A");
const VOCABULARY = 512;
const padded: { input_ids: number[][]; attention_mask: number[][] }[] = readJson("trajectories", "inputs-A.json").train;
const examples = padded
  .flatMap((b) => b.input_ids.map((row, r) => row.filter((_, t) => b.attention_mask[r][t] === 1)))
  .filter((ids) => ids.length > 1)
  .slice(0, 12)
  .map((ids, i) => ({ ids, name: `example ${i}` }));

const streamed: ModelOptions = { offload: { to: "host", wire: "fp32", unitBytes: 60_000, slots: 2 } };
const method = { name: "mezo-sgd" as const, learningRate: 5e-4, eps: 1e-3, weightDecay: 0.1 };
const options: TrainerOptions = { method, steps: 5, batchSize: 4, seed: 7 };

function crossEntropy(logits: Float32Array, label: number): number {
  const most = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  return most + Math.log(logits.reduce((sum, l) => sum + Math.exp(l - most), 0)) - logits[label];
}

/** Every token but the last predicts the next one: the loss that texts have by themselves. */
const allButLast = (ids: Ids) => ids.slice(1).map((_, t) => t);
function languageModelLoss(outputs: readonly LogitOutput[]): number {
  const losses = outputs.flatMap(({ ids, positions, logits }) =>
    positions.map((p, k) => crossEntropy(logits[k], ids[p + 1])),
  );
  return losses.reduce((a, b) => a + b, 0) / losses.length;
}
const languageModel: Objective = { from: "logits", positions: allButLast, loss: languageModelLoss };

async function fit(model: Model, trainer: Trainer, data: object[] = examples): Promise<Step[]> {
  const steps: Step[] = [];
  for await (const step of trainer.fit(data)) steps.push(step);
  expect(sessionOf(model).plan).not.toBeNull();
  return steps;
}

function train(
  o: Partial<TrainerOptions>,
  model: ModelOptions = streamed,
): Promise<{ steps: Step[]; weights: Uint32Array[] }> {
  return withModel(dir, model, async (m) => ({
    steps: await fit(m, new Trainer(m, { ...options, ...o })),
    weights: await weightBits(m),
  }));
}

const untouched = () => withModel(dir, streamed, weightBits);

describe("a loss written in TypeScript", () => {
  const VARIANTS = [{}, { microBatchSize: 1 }, { deferredUpdate: false }];
  it.each(VARIANTS)(
    "that is the built-in one has its losses within 1e-6, and moves the weights as it does (%j)",
    async (o) => {
      const own = await train({ ...o, objective: languageModel });
      const built = await train(o);
      expect(own.steps).toHaveLength(5);
      const largest = { g: 0, weight: 0 };
      own.steps.forEach((step, s) => {
        expect(Math.abs(step.lossPlus / built.steps[s].lossPlus - 1)).toBeLessThan(1e-6);
        expect(Math.abs(step.lossMinus / built.steps[s].lossMinus - 1)).toBeLessThan(1e-6);
        expect(step.projectedGradient).toBe(Math.fround((step.lossPlus - step.lossMinus) / (2 * method.eps)));
        largest.g += Math.abs(step.projectedGradient - built.steps[s].projectedGradient);
      });
      own.weights.forEach((bits, i) => {
        const [a, b] = [new Float32Array(bits.buffer), new Float32Array(built.weights[i].buffer)];
        a.forEach((w, k) => (largest.weight = Math.max(largest.weight, Math.abs(w - b[k]))));
      });
      // No Gaussian of 24 bits passes 6; five updates round to fp32 below 2.
      expect(largest.weight).toBeLessThanOrEqual(method.learningRate * largest.g * 6 + 5 * 2 ** -23);
      expect(largest.g).toBeLessThan(1e-2);
    },
  );

  it("takes the step of its g: a run that is given each g ends with the same bits", async () => {
    const own = await train({ objective: languageModel });
    const given = await train({ test: { projectedGradient: (step) => own.steps[step].projectedGradient } });
    expect(sameBits(own.weights, given.weights)).toBe(true);
    expect(sameBits(own.weights, await untouched())).toBe(false);
  });

  it("gives the same run twice, streamed or resident, whatever the memory", async () => {
    const first = await train({ objective: languageModel });
    const variants: ModelOptions[] = [
      streamed,
      { offload: { ...streamed.offload, to: "device" } },
      { offload: { ...streamed.offload, slots: 1 }, test: { poison: true } },
      { offload: { ...streamed.offload, overlap: false } },
      { ...streamed, test: { delayMicroseconds: 200, delaySeed: 3, poison: true } },
    ];
    for (const model of variants) {
      const again = await train({ objective: languageModel }, model);
      expect(again.steps.map((s) => [s.lossPlus, s.lossMinus])).toEqual(
        first.steps.map((s) => [s.lossPlus, s.lossMinus]),
      );
      expect(sameBits(again.weights, first.weights)).toBe(true);
    }
  });

  it(
    "sees each record with its ids, the logits behind the positions it asked for, and which branch of which step " +
      "they are of",
    async () => {
      const contexts: ObjectiveContext[] = [];
      const kept: { outputs: readonly LogitOutput[]; copy: number[][] }[] = [];
      const asked = (ids: Ids) => [0, ids.length - 1].filter((p, k) => k === 0 || p > 0);
      const loss = async (outputs: readonly LogitOutput[], context: ObjectiveContext) => {
        contexts.push(context);
        kept.push({ outputs, copy: outputs.map(({ logits }) => [...logits.at(-1)!]) });
        await new Promise((resolve) => setTimeout(resolve, 2));
        return outputs[0].logits[0][0];
      };
      await train({ steps: 3, microBatchSize: 2, objective: { from: "logits", positions: asked, loss } });
      expect(contexts).toEqual(
        [0, 1, 2].flatMap((step) => [
          { step, branch: "plus", direction: 0 },
          { step, branch: "minus", direction: 0 },
        ]),
      );
      for (const { outputs, copy } of kept) {
        expect(outputs).toHaveLength(4);
        outputs.forEach(({ record, ids, positions, logits }, i) => {
          expect(examples).toContainEqual(record);
          expect(ids).toEqual(record.ids);
          expect(positions).toEqual(asked(ids));
          expect(logits.map((row) => row.length)).toEqual(positions.map(() => VOCABULARY));
          // What the caller keeps stays as it was.
          expect([...logits.at(-1)!]).toEqual(copy[i]);
        });
      }
      // Two branches see the same batch with other weights.
      expect(kept[0].outputs.map(({ record }) => record)).toEqual(kept[1].outputs.map(({ record }) => record));
      expect(kept[0].copy).not.toEqual(kept[1].copy);
    },
  );

  it(
    "is asked about the last token where it names no positions, and these are the logits that the model gives " +
      "there",
    async () => {
      const seen: LogitOutput[][] = [];
      await withModel(dir, streamed, async (model) => {
        const loss = (outputs: readonly LogitOutput[]) => seen.push([...outputs]);
        // Weights that stand 1e-12 away are those of the model, in fp32; a g of 0 leaves them there.
        const near = { method: { ...method, eps: 1e-12, weightDecay: 0 }, test: { projectedGradient: () => 0 } };
        await fit(model, new Trainer(model, { ...options, ...near, steps: 1, objective: { from: "logits", loss } }));
        for (const { ids, positions, logits } of seen.flat()) {
          expect(positions).toEqual([ids.length - 1]);
          const want = (await model.logits(ids)).subarray((ids.length - 1) * VOCABULARY);
          want.forEach((w, v) => expect(Math.abs(logits[0][v] - w)).toBeLessThan(1e-5));
        }
      });
      expect(seen.map((outputs) => outputs.length)).toEqual([4, 4]);
    },
  );

  it("that does not depend on the weights leaves them alone but for their decay", async () => {
    const constant: Objective = { from: "logits", loss: () => 3 };
    const start = await untouched();
    expect(sameBits((await train({ objective: constant, method: { ...method, weightDecay: 0 } })).weights, start)).toBe(
      true,
    );
    const { steps, weights } = await train({ objective: constant });
    expect(steps.map((s) => [s.loss, s.projectedGradient])).toEqual(new Array(5).fill([3, 0]));
    await withModel(dir, streamed, async (model) => {
      model.parameters.forEach((p, i) =>
        expect([p.name, sameBits([weights[i]], [start[i]])]).toEqual([p.name, !p.decay]),
      );
    });
  });

  it("of a classifier's labels equals its built-in loss", async () => {
    const classifier = path.join(fixtures, "models/opt-classify");
    const data = examples.map(({ ids }, i) => ({ ids: ids.map((id) => id % 208), label: i % 3 }));
    const loss = (outputs: readonly LogitOutput[]) =>
      outputs.reduce((sum, { record, logits }) => sum + crossEntropy(logits[0], Number(record.label)), 0) /
      outputs.length;
    const run = (o: Partial<TrainerOptions>) =>
      withModel(classifier, { offload: { wire: "fp32" } }, (model) =>
        fit(model, new Trainer(model, { ...options, ...o }), data),
      );
    const own = await run({ objective: { from: "logits", loss } });
    const built = await run({ test: { projectedGradient: (step) => own[step].projectedGradient } });
    expect(own.map((s) => s.labelled)).toEqual(built.map((s) => s.labelled));
    own.forEach((step, s) => expect(Math.abs(step.loss / built[s].loss - 1)).toBeLessThan(5e-7));
    expect(new Set(own.map((s) => s.loss)).size).toBe(5);
  });
});

describe("logits that an objective asks for", () => {
  const run = (objective: Objective, o: Partial<TrainerOptions> = {}) =>
    withModel(dir, streamed, async (model) => {
      const start = await weightBits(model);
      const work = fit(model, new Trainer(model, { ...options, steps: 1, objective, ...o }));
      await work.catch(() => undefined);
      // Whatever was refused has changed nothing, and the model can be used.
      if (
        await work.then(
          () => false,
          () => true,
        )
      )
        expect(sameBits(await weightBits(model), start)).toBe(true);
      return work;
    });

  it("are bounded by maxBytes, both branches together, to the byte", async () => {
    const data = [{ ids: [5, 6, 7] }];
    const bytes = 2 * 2 * VOCABULARY * 4;
    const bounded = (maxBytes: number): Objective => ({
      from: "logits",
      positions: allButLast,
      loss: languageModelLoss,
      maxBytes,
    });
    await withModel(dir, streamed, async (model) => {
      const one = (maxBytes: number) =>
        fit(model, new Trainer(model, { ...options, steps: 1, batchSize: 1, objective: bounded(maxBytes) }), data);
      await expect(one(bytes - 1)).rejects.toMatchObject({
        code: "ZO2_ERR_MEMORY_BUDGET",
        message: expect.stringContaining("objective.maxBytes"),
      });
      expect(await one(bytes)).toHaveLength(1);
    });
  });

  it.each<[string, (ids: Ids) => readonly number[]]>([
    ["none", () => []],
    ["one past the end", (ids) => [ids.length]],
    ["one before the beginning", () => [-1]],
    ["descending ones", () => [1, 0]],
    ["one twice", () => [0, 0]],
    ["half a token", () => [0.5]],
    ["not a number", () => [Number.NaN]],
    ["texts", () => ["0"] as unknown as number[]],
    ["a number instead of a list", () => 0 as unknown as number[]],
    ["thousands", () => Array.from({ length: 5000 }, (_, i) => i)],
  ])("may not be behind %s", async (_, positions) => {
    const message = expect.stringMatching(/^objective\.positions of example 0 .{1,400}$/s);
    await expect(run({ from: "logits", positions, loss: () => 1 })).rejects.toMatchObject({
      code: "ZO2_ERR_INVALID_ARGUMENT",
      message,
    });
  });

  const NO_LOSS: [unknown][] = [
    [Number.NaN],
    [Infinity],
    [undefined],
    ["3"],
    [null],
    [3n],
    [Promise.resolve(-Infinity)],
  ];
  it.each(NO_LOSS)("whose loss is %p stop the run, which names the step and the branch", async (value) => {
    const loss = (_: readonly LogitOutput[], { branch }: ObjectiveContext) =>
      branch === "minus" ? (value as number) : 1;
    const message = expect.stringMatching(/^step 0, branch minus of direction 0: the objective returned/);
    await expect(run({ from: "logits", loss })).rejects.toMatchObject({ code: "ZO2_ERR_NOT_FINITE", message });
  });

  it.each([
    [1e308, -1e308],
    [1e38, -1e38],
  ])("whose losses %d and %d leave no finite g stop the run too", async (plus, minus) => {
    const loss = (_: readonly LogitOutput[], { branch }: ObjectiveContext) => (branch === "plus" ? plus : minus);
    const message = expect.stringContaining("projected gradient");
    await expect(run({ from: "logits", loss })).rejects.toMatchObject({ code: "ZO2_ERR_NOT_FINITE", message });
  });

  it.each<[string, object, string]>([
    ["no prompt", { label: 1 }, "ZO2_ERR_DATA"],
    ["two prompts", { ids: [1], text: "x" }, "ZO2_ERR_DATA"],
    ["an empty prompt", { ids: [] }, "ZO2_ERR_DATA"],
    ["an id outside the vocabulary", { ids: [VOCABULARY] }, "ZO2_ERR_DATA"],
    ["text, and the model has no tokenizer", { text: "It was" }, "ZO2_ERR_TOKENIZER"],
    ["more tokens than positions", { ids: new Array<number>(129).fill(5) }, "ZO2_ERR_LENGTH"],
  ])("are of a prompt: %s is refused", async (_, record, code) => {
    await withModel(dir, streamed, async (model) => {
      const trainer = new Trainer(model, { ...options, steps: 1, batchSize: 1, objective: languageModel });
      await expect(fit(model, trainer, [record])).rejects.toMatchObject({ code });
    });
  });
});

describe("a loss that throws", () => {
  it.each(["plus", "minus"] as const)(
    "in the branch %s leaves the weights of the last finished step; another fit goes on",
    async (branch) => {
      const whole = await train({ objective: languageModel });
      const two = await train({ objective: languageModel, steps: 2 });
      const failure = new Error("the judge is away");
      let fails = true;
      const loss = (outputs: readonly LogitOutput[], context: ObjectiveContext) => {
        if (fails && context.step === 2 && context.branch === branch) throw failure;
        return languageModelLoss(outputs);
      };
      await withModel(dir, streamed, async (model) => {
        const trainer = new Trainer(model, { ...options, objective: { from: "logits", positions: allButLast, loss } });
        await expect(fit(model, trainer)).rejects.toBe(failure);
        expect(trainer.stepsTaken).toBe(2);
        expect(sameBits(await weightBits(model), two.weights)).toBe(true);
        // The step that failed has drawn its noise and run its branches; the next attempt is not to see that.
        await expect(fit(model, trainer)).rejects.toBe(failure);
        expect(sameBits(await weightBits(model), two.weights)).toBe(true);
        fails = false;
        expect((await fit(model, trainer)).map((s) => [s.index, s.loss])).toEqual(
          whole.steps.slice(2).map((s) => [s.index, s.loss]),
        );
        expect(sameBits(await weightBits(model), whole.weights)).toBe(true);
      });
    },
  );

  it(
    "or is never asked again, as the loop is left: the steps that were yielded stay, and a second fit takes the " +
      "rest",
    async () => {
      const whole = await train({ objective: languageModel });
      await withModel(dir, streamed, async (model) => {
        const trainer = new Trainer(model, { ...options, objective: languageModel });
        while (trainer.stepsTaken < 5) for await (const _ of trainer.fit(examples)) break;
        expect(sameBits(await weightBits(model), whole.weights)).toBe(true);
      });
    },
  );

  it("because the model was disposed in it ends the loop by ZO2_ERR_DISPOSED", async () => {
    const model = await loadModel(dir, { ...streamed, device: DEVICE, threads: 2 });
    const loss = async () => {
      await model.dispose();
      return 1;
    };
    const trainer = new Trainer(model, { ...options, objective: { from: "logits", loss } });
    await expect(trainer.fit(examples).next()).rejects.toMatchObject({ code: "ZO2_ERR_DISPOSED" });
    await model.dispose();
  });
});

it(
  "a loss may use the model: it sees the weights in their place with every step that was taken, and does not " +
    "change the run",
  async () => {
    const quiet = await train({ objective: languageModel });
    const text = { ids: examples[0].ids };
    const score = async (model: Model) => {
      for await (const { sum } of model.score([text])) return sum;
      throw new Error("nothing was scored");
    };
    // What the model says after each step, from a run that is stopped there.
    const after: number[] = [];
    await withModel(dir, streamed, async (model) => {
      after.push(await score(model));
      for await (const _ of new Trainer(model, { ...options, objective: languageModel }).fit(examples))
        after.push(await score(model));
    });
    const seen: number[] = [];
    const weights = await withModel(dir, streamed, async (model) => {
      const loss = async (outputs: readonly LogitOutput[]) => {
        seen.push(await score(model));
        await model.evaluate([text]);
        await model.generate({ ids: [5, 6, 7] }, { maxNewTokens: 3, ignoreEos: true }).result();
        await model.parameterValues("model.decoder.final_layer_norm.weight");
        await expect(new Trainer(model, options).fit(examples).next()).rejects.toMatchObject({ code: "ZO2_ERR_BUSY" });
        return languageModelLoss(outputs);
      };
      await fit(model, new Trainer(model, { ...options, objective: { from: "logits", positions: allButLast, loss } }));
      return weightBits(model);
    });
    expect(seen).toEqual(after.slice(0, 5).flatMap((s) => [s, s]));
    expect(new Set(after).size).toBe(6);
    expect(sameBits(weights, quiet.weights)).toBe(true);
  },
);
