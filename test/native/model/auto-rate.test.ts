/** A learning rate that is chosen from the losses beside the weights: the run is that with the number. */
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { ModelOptions } from "../../../src/config/model.js";
import type { TrainerOptions } from "../../../src/config/trainer.js";
import { readRun } from "../../../src/journal/read-run.js";
import { sweep } from "../../../src/sweep/sweep.js";
import type { RateChoice } from "../../../src/train/rate-rule.js";
import { Trainer } from "../../../src/train/trainer.js";
import { sameBits, sessionOf, some, weightBits, withModel } from "./helpers.js";
import { examples, folder, STEPS, train } from "./runs.js";

let work: string;
beforeEach(async () => {
  work = await fs.mkdtemp(path.join(os.tmpdir(), "zo2-auto-"));
});
afterEach(() => fs.rm(work, { recursive: true, force: true }));

type Method = TrainerOptions["method"];
type OwnOptions<M = Method> = M extends unknown ? Omit<M, "learningRate"> : never;

const optionsWith = (
  learningRate: number | "auto",
  method: OwnOptions = { name: "mezo-sgd", weightDecay: 0.1 },
): TrainerOptions => ({
  method: { ...method, learningRate },
  ...{ steps: STEPS, batchSize: 2, seed: 7 },
});

async function recordsOf(run: string) {
  const { header, steps } = await readRun(run);
  return { header: { ...header, created: "" }, steps };
}

describe.each(
  some<readonly [string, ModelOptions, OwnOptions | undefined, Partial<TrainerOptions>]>(
    [
      ["streamed", { offload: { wire: "fp32", unitBytes: 20_000 } }, undefined, {}],
      ["resident, frozen", { offload: { to: "device" } }, undefined, { freeze: ["*ln*"] }],
      ["fzoo", { offload: { wire: "fp32" } }, { name: "fzoo", directions: 3, weightDecay: 0.1 }, {}],
      ["es", { offload: { wire: "fp32" } }, { name: "es", directions: 3 }, {}],
      ["lozo", { offload: { wire: "fp32" } }, { name: "lozo", rank: 1, interval: 4 }, {}],
      [
        "es by ranks",
        { offload: { wire: "fp32" } },
        { name: "es", directions: 2, antithetic: true, fitness: "rank" },
        {},
      ],
    ],
    1,
  ),
)("a learning rate of auto (%s)", (_, model, method, more) => {
  it("changes no weight, is a number in the journal, and makes the run that this number makes", async () => {
    const chosen = path.join(work, "chosen");
    const given = path.join(work, "given");
    const choices: RateChoice[] = [];
    const onLearningRate = (choice: RateChoice) => choices.push(choice);
    const auto = await train(chosen, "gpt2", model, { ...optionsWith("auto", method), ...more, run: chosen }, STEPS, {
      onLearningRate,
    });
    const [{ learningRate }] = choices as [RateChoice];
    expect(learningRate).toBeGreaterThan(0);
    expect(choices).toHaveLength(1);
    const number = { ...optionsWith(learningRate, method), ...more, run: given };
    const same = await train(given, "gpt2", model, number, STEPS);
    expect(sameBits(auto, same)).toBe(true);
    expect(await recordsOf(chosen)).toEqual(await recordsOf(given));
    expect((await readRun(chosen)).header.training["method"]).toMatchObject({ learningRate });
  });

  it("stays what it was where the run is taken up", async () => {
    const run = path.join(work, "run");
    const options = { ...optionsWith("auto", method), ...more };
    const whole = await train("", "gpt2", model, options, STEPS);
    await train(run, "gpt2", model, { ...options, run }, 3);
    const onLearningRate = () => {
      throw new Error("was chosen anew");
    };
    const resumed = await train(run, "gpt2", model, { resume: { method: options.method } }, STEPS, { onLearningRate });
    expect(sameBits(resumed, whole)).toBe(true);
  });
});

describe("the choice of a rate", () => {
  const model: ModelOptions = { offload: { wire: "fp32" } };
  const choose = (loaded: Parameters<typeof weightBits>[0], seed: number, method?: OwnOptions) =>
    new Promise<RateChoice>((resolve, reject) => {
      const trainer = new Trainer(loaded, { ...optionsWith("auto", method), seed });
      const steps = trainer.fit(examples, { onLearningRate: resolve });
      steps.next().then(() => steps.return(), reject);
    });

  it("is a function of the seed, and leaves the weights those of the checkpoint", async () => {
    await withModel(folder("gpt2"), model, async (loaded) => {
      const before = await weightBits(loaded);
      const trainer = new Trainer(loaded, optionsWith("auto"));
      const choices: RateChoice[] = [];
      const stop = new AbortController();
      const onLearningRate = (choice: RateChoice) => {
        choices.push(choice);
        stop.abort();
      };
      await expect(trainer.fit(examples, { onLearningRate, signal: stop.signal }).next()).rejects.toMatchObject({
        code: "ZO2_ERR_ABORTED",
      });
      expect(sessionOf(loaded).untouched).toBe(true);
      expect(sameBits(await weightBits(loaded), before)).toBe(true);
      expect(trainer.options.method.learningRate).toBe(choices[0]?.learningRate);
      expect(await choose(loaded, 7)).toEqual(choices[0]);
    });
    await withModel(folder("gpt2"), model, async (loaded) => {
      const { curvature } = await choose(loaded, 8);
      expect(curvature).not.toEqual((await withModel(folder("gpt2"), model, (other) => choose(other, 7))).curvature);
    });
  });

  it("is one value among others of a sweep, which goes on with what was chosen", async () => {
    const options = {
      ...{ dir: path.join(work, "rates"), data: examples, grid: { learningRate: ["auto", 1e-4] } },
      trainer: { steps: 2, method: { name: "mezo-sgd" }, evaluation: { data: examples, every: 2 } },
    };
    const swept = () => withModel(folder("gpt2"), model, (loaded) => sweep(loaded, options));
    await swept();
    expect((await swept()).trials.map(({ reused }) => reused)).toEqual([true, true]);
  });

  it("is refused where it has no meaning", async () => {
    await withModel(folder("gpt2"), model, async (loaded) => {
      const objective = { from: "text", loss: () => 0 } as const;
      for (const method of [{ name: "mezo-sgd" }, { name: "fzoo" }, { name: "es" }] as const) {
        expect(() => new Trainer(loaded, { ...optionsWith("auto", method), objective })).toThrow(
          expect.objectContaining({
            code: "ZO2_ERR_CONFIG",
            message: expect.stringMatching(/learningRate" is "auto"; needs the data's own loss/),
          }),
        );
      }
    });
  });

  it("looks along the method's own noise, and translates what it finds", async () => {
    const of = (method: OwnOptions) => withModel(folder("gpt2"), model, (loaded) => choose(loaded, 7, method));
    const rademacher = await of({ name: "mezo-sgd", noise: "rademacher", directions: 3 });
    const fzoo = await of({ name: "fzoo", directions: 3 });
    const gaussian = await of({ name: "mezo-sgd", directions: 3 });
    const es = await of({ name: "es", directions: 3, antithetic: true });
    // The same looks; the coefficients are those of each method.
    for (const [mezo, own] of [[rademacher, fzoo] as const, [gaussian, es] as const]) {
      expect({ ...own, learningRate: 0, coefficient: 0 }).toEqual({ ...mezo, learningRate: 0, coefficient: 0 });
      expect(mezo.coefficient).toBe(mezo.slope);
      const ratio = (own.learningRate * own.coefficient) / (mezo.learningRate * mezo.slope);
      // Two digits of each.
      expect(Math.abs(ratio - 1)).toBeLessThan(0.11);
    }
    expect(gaussian.curvature).not.toEqual(rademacher.curvature);
    // z-scores of two sides that are about as far from their mean.
    expect(es.coefficient).toBeCloseTo(1, 1);
  });
});
