import path from "node:path";
import type { ObjectiveContext, TextOutput } from "../../../src/config/objective.js";
import type { ModelOptions } from "../../../src/config/model.js";
import type { TrainerOptions } from "../../../src/config/trainer.js";
import { Trainer, type Step } from "../../../src/train/trainer.js";
import { fixtures, sameBits, weightBits, withModel } from "./helpers.js";

const method = { name: "mezo-sgd" as const, learningRate: 5e-4, eps: 1e-3, weightDecay: 0.1 };
const options: TrainerOptions = { method, steps: 5, batchSize: 3, seed: 7 };
/** Weights that stand 1e-12 away are those of the model, in fp32; a g of 0 leaves them there. */
const near = { method: { ...method, eps: 1e-12, weightDecay: 0 }, test: { projectedGradient: () => 0 } };

async function fit(trainer: Trainer, data: object[]): Promise<Step[]> {
  const steps: Step[] = [];
  for await (const step of trainer.fit(data)) steps.push(step);
  return steps;
}

describe("a loss of generated text", () => {
  const llama = path.join(fixtures, "models/llama");
  const data = [
    { ids: [5, 17, 3], wanted: 9 },
    { ids: [99, 42, 7, 150], wanted: 30 },
    { ids: [8], wanted: 100 },
  ];
  const generate = { maxNewTokens: 6, ignoreEos: true };
  const streamed: ModelOptions = { offload: { wire: "fp32", unitBytes: 60_000 } };
  const run = (o: Partial<TrainerOptions>) =>
    withModel(llama, streamed, async (m) => ({
      steps: await fit(new Trainer(m, { ...options, ...o }), data),
      weights: await weightBits(m),
    }));
  const distance = (outputs: readonly TextOutput[]) =>
    outputs.reduce(
      (sum, { generated, record }) => sum + Math.abs(generated[0] - Number(record.wanted)) + generated.length / 100,
      0,
    ) / outputs.length;

  it("gets what the model writes with its weights on either side, and takes the step of its g", async () => {
    const far = { ...method, eps: 0.05 };
    const own = await run({ method: far, objective: { from: "text", generate, loss: distance } });
    expect(own.steps.some((s) => s.projectedGradient !== 0)).toBe(true);
    for (const s of own.steps) expect(s.projectedGradient).toBe(Math.fround((s.lossPlus - s.lossMinus) / 0.1));
    const given = await withModel(llama, streamed, async (m) => {
      const trainer = new Trainer(m, {
        ...options,
        method: far,
        test: { projectedGradient: (step) => own.steps[step].projectedGradient },
      });
      await fit(
        trainer,
        data.map(({ ids }) => ({ ids: [...ids, 1] })),
      );
      return weightBits(m);
    });
    expect(sameBits(own.weights, given)).toBe(true);
  });

  it("writes as model.generate does where the weights stand in their place", async () => {
    const seen: (readonly TextOutput[])[] = [];
    await withModel(llama, {}, async (model) => {
      const loss = (outputs: readonly TextOutput[]) => seen.push(outputs);
      await fit(
        new Trainer(model, { ...options, ...near, steps: 1, objective: { from: "text", generate, loss } }),
        data,
      );
      for (const outputs of seen) {
        for (const { ids, generated, text, record } of outputs) {
          expect(ids).toEqual(record.ids);
          expect(generated).toEqual((await model.generate({ ids }, generate).result()).ids);
          expect(generated).toHaveLength(6);
          expect(text).toBe("");
        }
      }
    });
    expect(seen.map((outputs) => outputs.length)).toEqual([3, 3]);
  });

  it("draws alike in both branches of a step, and otherwise in the next", async () => {
    const drawn: number[][][] = [];
    const loss = (outputs: readonly TextOutput[]) => drawn.push(outputs.map(({ generated }) => [...generated]));
    await run({
      ...near,
      steps: 3,
      objective: { from: "text", generate: { ...generate, temperature: 3, seed: 4 }, loss },
    });
    expect(drawn).toHaveLength(6);
    // The prompts come in another order in each step: compare what follows any of them.
    for (const step of [0, 1, 2]) expect(drawn[2 * step]).toEqual(drawn[2 * step + 1]);
    expect(new Set(drawn.map((d) => JSON.stringify([...d].sort()))).size).toBe(3);
  });

  it("that throws leaves the weights as after the last finished step", async () => {
    const one = await run({ steps: 1, objective: { from: "text", generate, loss: distance } });
    await withModel(llama, streamed, async (model) => {
      const loss = (outputs: readonly TextOutput[], { step, branch }: ObjectiveContext) => {
        if (step === 1 && branch === "minus") throw new Error("no");
        return distance(outputs);
      };
      await expect(
        fit(new Trainer(model, { ...options, objective: { from: "text", generate, loss } }), data),
      ).rejects.toThrow("no");
      expect(sameBits(await weightBits(model), one.weights)).toBe(true);
    });
  });
});
