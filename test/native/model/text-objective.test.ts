import path from "node:path";
import { Trainer } from "../../../src/train/trainer.js";
import { fixtures, weightBits, sameBits, withModel } from "./helpers.js";

const dir = path.join(fixtures, "models/llama");
const prompts = [[5, 9, 77], [12, 140, 33, 8], [101], [64, 64]].map((ids, i) => ({ ids, wanted: i }));

function trainer(
  model: ConstructorParameters<typeof Trainer>[0],
  loss: (
    outputs: readonly { generated: readonly number[]; record: Readonly<Record<string, unknown>> }[],
    context: { step: number; branch: string },
  ) => number,
  steps = 3,
) {
  return new Trainer(model, {
    method: { name: "mezo-sgd", learningRate: 1e-4, eps: 1e-2 },
    steps,
    batchSize: 4,
    seed: 3,
    objective: { from: "text", loss, generate: { maxNewTokens: 6, ignoreEos: true } },
  });
}

it("asks an objective over generated text for both branches of every step, with the records of the batch", async () => {
  await withModel(dir, { offload: { wire: "fp32" } }, async (model) => {
    const asked: string[] = [];
    const t = trainer(model, (outputs, { step, branch }) => {
      asked.push(`${step} ${branch}`);
      expect(outputs.map((o) => o.record["wanted"]).sort()).toEqual([0, 1, 2, 3]);
      expect(outputs.every((o) => o.generated.length === 6)).toBe(true);
      return branch === "plus" ? 1 + step : 1;
    });
    const before = await weightBits(model);
    const steps = [];
    for await (const step of t.fit(prompts)) steps.push(step);
    expect(asked).toEqual(["0 plus", "0 minus", "1 plus", "1 minus", "2 plus", "2 minus"]);
    expect(steps.map((s) => s.projectedGradient)).toEqual([0, Math.fround(1 / 2e-2), Math.fround(2 / 2e-2)]);
    expect(sameBits(before, await weightBits(model))).toBe(false);
  });
});

it("gives the same weights as the same gradients put in from outside", async () => {
  const gradients = [0.5, -2, 1];
  const losses = (step: number, branch: string) =>
    branch === "plus" ? gradients[step] * 1e-2 : -gradients[step] * 1e-2;
  const wanted = await withModel(dir, { offload: { wire: "fp32" } }, async (model) => {
    const t = new Trainer(model, {
      method: { name: "mezo-sgd", learningRate: 1e-4, eps: 1e-2 },
      steps: 3,
      batchSize: 4,
      seed: 3,
      test: { projectedGradient: (step) => gradients[step] },
    });
    for await (const step of t.fit([{ ids: [1, 2, 3] }, { ids: [4, 5] }, { ids: [6, 7] }, { ids: [8, 9] }])) void step;
    return weightBits(model);
  });
  for (const offload of [
    { to: "host", wire: "fp32" },
    { to: "device", wire: "fp32" },
  ] as const) {
    const got = await withModel(dir, { offload }, async (model) => {
      for await (const step of trainer(model, (_, { step: s, branch }) => losses(s, branch)).fit(prompts)) void step;
      return weightBits(model);
    });
    expect(sameBits(wanted, got)).toBe(true);
  }
});

it("hears, in each branch, what the weights on that side of their place say", async () => {
  await withModel(dir, { offload: { wire: "fp32" } }, async (model) => {
    const said: Record<string, (readonly number[])[]> = {};
    // So far apart that the two sides do not say the same.
    const t = new Trainer(model, {
      method: { name: "mezo-sgd", learningRate: 1e-9, eps: 0.3 },
      steps: 1,
      batchSize: 4,
      seed: 3,
      objective: {
        from: "text",
        generate: { maxNewTokens: 6, ignoreEos: true },
        loss: (outputs, { branch }) => {
          said[branch] = outputs.map((o) => o.generated);
          return outputs.filter((o) => o.generated[0] === 5).length;
        },
      },
    });
    for await (const step of t.fit(prompts)) void step;
    expect(said["plus"]).not.toEqual(said["minus"]);
  });
});
