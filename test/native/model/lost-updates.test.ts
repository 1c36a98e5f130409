/** What is said of lost updates is what becomes of them. */
import type { Warning } from "../../../src/base/warnings.js";
import type { ModelOptions } from "../../../src/config/model.js";
import type { TrainerOptions } from "../../../src/config/trainer.js";
import type { Model } from "../../../src/model.js";
import { Trainer } from "../../../src/train/trainer.js";
import { withModel } from "./helpers.js";
import { examples, folder } from "./runs.js";

const STEPS = 8;

async function train(model: Model, learningRate: number, o: Partial<TrainerOptions> = {}): Promise<readonly Warning[]> {
  const warnings: Warning[] = [];
  // All coefficients alike: each step's updates are as large.
  const options = { method: { name: "mezo-sgd", learningRate }, steps: STEPS + 2, batchSize: 1, seed: 3 } as const;
  const test = { projectedGradient: () => 2 };
  for await (const _ of new Trainer(model, { ...options, test, ...o }).fit(examples, {
    onWarning: (warning) => warnings.push(warning),
  }));
  return warnings;
}

/** The share of weights that one step has left as they were. */
async function unchanged(model: Model, learningRate: number): Promise<number> {
  const matrices = model.parameters.filter(({ shape }) => shape.length === 2);
  const read = () => Promise.all(matrices.map(({ name }) => model.parameterValues(name)));
  const before = await read();
  await train(model, learningRate, { steps: 1 });
  const after = await read();
  const [same, all] = before.reduce(
    ([s, a], values, i) => [s + values.filter((value, e) => value === after[i]?.[e]).length, a + values.length],
    [0, 0],
  );
  return same / all;
}

describe.each(["fp16", "bf16", "int8", "e4m3"] as const)("%s, rounded to nearest", (wire) => {
  const options: ModelOptions = { rounding: "nearest", offload: { wire } };

  test.each([1e-6, 1e-5, 1e-4, 1e-3])("at a learning rate of %d", async (learningRate) => {
    const share = await withModel(folder("gpt2"), options, (model) => unchanged(model, learningRate));
    const warnings = await withModel(folder("gpt2"), options, (model) => train(model, learningRate));
    // Of the least rate most updates are lost in every dtype: something has to be said.
    if (learningRate === 1e-6) expect(share).toBeGreaterThan(0.53);
    if (share < 0.47) return expect(warnings).toEqual([]);
    if (share < 0.53) return;
    expect(warnings).toMatchObject([{ code: "ZO2_WARN_LOST_UPDATES" }]);
    const [, said] = /about (\d+) % were lost/.exec(warnings[0]?.message ?? "") ?? [];
    expect(Math.abs(Number(said) / 100 - share)).toBeLessThan(0.03);
  });
});

test("nothing is said in fp32, where rounding is stochastic, or where no matrix is trained", async () => {
  const quiet = async (options: ModelOptions, o: Partial<TrainerOptions> = {}) =>
    expect(await withModel(folder("gpt2"), options, (model) => train(model, 1e-7, o))).toEqual([]);
  await quiet({ offload: { wire: "fp32" } });
  await quiet({ offload: { wire: "fp16" }, rounding: "stochastic" });
  await quiet({ offload: { wire: "int8" } });
  await quiet({ offload: { wire: "fp16" } }, { freeze: ["*wte*", "*wpe*", "*attn*weight", "*mlp*weight"] });
});
