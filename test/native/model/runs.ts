/** Small runs that are written down, on the fixtures' models. */
import path from "node:path";
import type { ModelOptions } from "../../../src/config/model.js";
import type { TrainerOptions } from "../../../src/config/trainer.js";
import { type FitOptions, Trainer } from "../../../src/train/trainer.js";
import { fixtures, sameBits, weightBits, withModel } from "./helpers.js";

export const folder = (name: string) => path.join(fixtures, "models", name);
export const examples = Array.from({ length: 6 }, (_, i) => ({
  ids: Array.from({ length: 8 + i }, (_, t) => (i * 31 + t * 7 + t * t) % 208),
}));
export const STEPS = 8;
export const OPTIONS: TrainerOptions = {
  method: { name: "mezo-sgd", learningRate: 1e-2, weightDecay: 0.1, schedule: { name: "cosine", warmupSteps: 2 } },
  ...{ steps: STEPS, batchSize: 2, seed: 2n ** 63n + 5n },
};

/**
 * Takes steps until `until` of them have been taken, in a new run or going on with the one in `run`; resolves with the
 * weights. The loaded models of a case share nothing but that folder.
 */
export async function train(
  run: string,
  name: string,
  model: ModelOptions,
  options: TrainerOptions | "resume" | { readonly resume: Partial<TrainerOptions> },
  until = STEPS,
  o: FitOptions = {},
): Promise<Uint32Array[]> {
  return withModel(folder(name), model, async (loaded) => {
    const again = options === "resume" ? {} : "resume" in options ? options.resume : undefined;
    const trainer =
      again === undefined
        ? new Trainer(loaded, options as TrainerOptions)
        : await Trainer.resume(loaded, run, { steps: STEPS, ...again }, o);
    for await (const step of trainer.fit(examples, o)) if (step.index + 1 >= until) break;
    return weightBits(loaded);
  });
}

/**
 * A run in `run` that is left goes on to the bits of one that nobody interrupted, and so is it replayed where its
 * weights rest elsewhere, and takes turns with its base.
 */
export async function expectTakenUp(
  run: string,
  name: string,
  model: ModelOptions,
  options: TrainerOptions,
): Promise<void> {
  const whole = await train(run, name, model, options);
  await train(run, name, model, { ...options, run }, 3);
  expect(sameBits(await train(run, name, model, "resume"), whole)).toBe(true);
  const elsewhere: ModelOptions = { ...model, offload: { to: "device" }, journals: [run] };
  expect(sameBits(await withModel(folder(name), elsewhere, weightBits), whole)).toBe(true);
  await withModel(folder(name), model, async (loaded) => {
    expect(sameBits(await loaded.withRuns([run], weightBits), whole)).toBe(true);
    expect(sameBits(await loaded.withRuns([], weightBits), whole)).toBe(false);
    expect(sameBits(await loaded.withRuns([run], weightBits), whole)).toBe(true);
  });
}
