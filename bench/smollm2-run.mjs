/**
 * The run of a real model, kept and rebuilt: SmolLM2-135M-Instruct is fine-tuned as docs/tutorial-smollm2.md does it,
 * for some steps; then the base and the run's file make the tuned model again, and both are compared byte by byte.
 *
 *   node bench/smollm2-run.mjs --model DIR [--steps 100] [--threads 2]
 *
 * Writes bench/results/smollm2-run-cpu.json (--out): bytes of the journal, of its compact form and of the weights, and
 * the seconds of training and of the replay.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { loadNative } from "zo2/native";
import { loadModel, readJournal, Trainer } from "../dist/esm/index.js";
import { writeCompact } from "../dist/esm/journal/writer.js";
import { describeCommit, describeMachine } from "./lib/machine.mjs";
import { readOptions, runMain } from "./lib/options.mjs";
import { REVIEWS_TEMPLATE } from "./lib/reviews.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const DEFAULTS = {
  model: null,
  reviews: path.join(root, "docs", "demo", "reviews"),
  steps: 100,
  batch: 16,
  learningRate: 4e-5,
  threads: 2,
  out: path.join(root, "bench", "results", "smollm2-run-cpu.json"),
};
const WEIGHTS = "model.safetensors";

const bytesOf = (file) => fs.statSync(file).size;
const seconds = async (work) => {
  const begin = performance.now();
  await work();
  return (performance.now() - begin) / 1000;
};

await runMain("smollm2-run", async () => {
  const o = readOptions(process.argv.slice(2), DEFAULTS);
  if (o.model === null) throw new Error("--model is missing; give the folder of SmolLM2-135M-Instruct");
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-smollm2-run-"));
  const [run, tuned, again] = ["tuned.run", "tuned", "again"].map((name) => path.join(folder, name));
  const options = { device: "cpu", threads: o.threads, offload: { to: "host", wire: "fp32" } };
  try {
    const model = await loadModel(o.model, options);
    const trainer = new Trainer(model, {
      method: { name: "mezo-sgd", learningRate: o.learningRate, schedule: { name: "linear" } },
      ...{ steps: o.steps, batchSize: o.batch, run },
      template: REVIEWS_TEMPLATE,
    });
    const training = await seconds(async () => {
      for await (const _ of trainer.fit(path.join(o.reviews, "train.jsonl")));
    });
    await model.save(tuned);
    await model.dispose();

    const base = await loadModel(o.model, options);
    const replay = await seconds(() => base.withRuns([run], () => undefined));
    await base.save(again);
    await base.dispose();
    const equal = fs.readFileSync(path.join(tuned, WEIGHTS)).equals(fs.readFileSync(path.join(again, WEIGHTS)));

    const journal = path.join(run, "run.zo2");
    const result = {
      bench: "smollm2-run",
      date: new Date().toISOString(),
      ...describeCommit(root),
      ...{ device: describeMachine(), node: process.version, build: loadNative().build },
      ...{ threads: o.threads, steps: o.steps, batch: o.batch, equal },
      bytes: {
        journal: bytesOf(journal),
        compact: await writeCompact(path.join(folder, "short.zo2"), await readJournal(journal)),
        weights: bytesOf(path.join(tuned, WEIGHTS)),
      },
      seconds: { training, replay },
    };
    fs.writeFileSync(o.out, `${JSON.stringify(result, null, 2)}\n`);
    console.log(JSON.stringify(result, null, 2));
    if (!equal) throw new Error("what was replayed is not what was trained");
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
});
