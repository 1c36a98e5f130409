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

const optionsWith = (learningRate: number | "auto"): TrainerOptions => ({
  method: { name: "mezo-sgd", learningRate, weightDecay: 0.1 },
  ...{ steps: STEPS, batchSize: 2, seed: 7 },
});

async function recordsOf(run: string) {
  const { header, steps } = await readRun(run);
  return { header: { ...header, created: "" }, steps };
}

describe.each(
  some<readonly [string, ModelOptions, Partial<TrainerOptions>]>(
    [
      ["streamed", { offload: { wire: "fp32", unitBytes: 20_000 } }, {}],
      ["resident, frozen", { offload: { to: "device" } }, { freeze: ["*ln*"] }],
    ],
    1,
  ),
)("a learning rate of auto (%s)", (_, model, more) => {
  it("changes no weight, is a number in the journal, and makes the run that this number makes", async () => {
    const chosen = path.join(work, "chosen");
    const given = path.join(work, "given");
    const choices: RateChoice[] = [];
    const onLearningRate = (choice: RateChoice) => choices.push(choice);
    const auto = await train(chosen, "gpt2", model, { ...optionsWith("auto"), ...more, run: chosen }, STEPS, {
      onLearningRate,
    });
    const [{ learningRate }] = choices as [RateChoice];
    expect(learningRate).toBeGreaterThan(0);
    expect(choices).toHaveLength(1);
    const number = await train(given, "gpt2", model, { ...optionsWith(learningRate), ...more, run: given }, STEPS);
    expect(sameBits(auto, number)).toBe(true);
    expect(await recordsOf(chosen)).toEqual(await recordsOf(given));
    expect((await readRun(chosen)).header.training["method"]).toMatchObject({ learningRate });
  });

  it("stays what it was where the run is taken up", async () => {
    const run = path.join(work, "run");
    const options = { ...optionsWith("auto"), ...more };
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
  const choose = (loaded: Parameters<typeof weightBits>[0], seed: number) =>
    new Promise<RateChoice>((resolve, reject) => {
      const trainer = new Trainer(loaded, { ...optionsWith("auto"), seed });
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
      const of = (more: object) => () => new Trainer(loaded, { ...optionsWith("auto"), ...more } as TrainerOptions);
      expect(of({ objective: { from: "text", loss: () => 0 } })).toThrow(/needs the data's own loss/);
      expect(of({ method: { name: "fzoo", learningRate: "auto" } })).toThrow(
        /learningRate" is "auto"; must be a number/,
      );
    });
  });
});
