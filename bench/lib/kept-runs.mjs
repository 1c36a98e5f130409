/** Runs on the disk without their training: what the benches replay. */
import fs from "node:fs";
import path from "node:path";
import { parseOptions } from "../../dist/esm/config/parse.js";
import { trainerOptionsSchema } from "../../dist/esm/config/trainer.js";
import { JournalWriter } from "../../dist/esm/journal/writer.js";
import { loadedOf } from "../../dist/esm/loaded.js";
import { headerOf } from "../../dist/esm/run/describe.js";

const DATA = { path: null, examples: 1, hash: "0".repeat(32) };

/** Writes a run of so many steps on the base of `model` into `folder`. @returns the folder */
export async function writeRun(folder, model, { noise, steps, seed = 7 }) {
  fs.mkdirSync(folder, { recursive: true });
  const method = { name: "mezo-sgd", learningRate: 1e-7, noise };
  const options = parseOptions(trainerOptionsSchema, { method, steps, seed }, "bench");
  const header = await headerOf(loadedOf(model), options, DATA);
  const writer = await JournalWriter.create(path.join(folder, "run.zo2"), header, "never");
  for (let step = 0; step < steps; step++) {
    const g = Math.fround(Math.sin(step + 1));
    await writer.step({
      ...{ step, learningRate: 1e-7, coefficients: [g] },
      shards: [{ labelled: 16, losses: [3 + g * 1e-3, 3 - g * 1e-3] }],
    });
  }
  await writer.close();
  return folder;
}

/** Seconds that `work` takes, and what it resolves with. */
export async function timed(work) {
  const begin = performance.now();
  const value = await work();
  return { seconds: (performance.now() - begin) / 1000, value };
}
