/**
 * A real model from end to end: SmolLM2-135M-Instruct is asked and scored, fine-tuned on review sentences while its
 * weights stream, saved, loaded again, scored and asked again. docs/tutorial-smollm2.md tells the story, with the
 * figures of this program's result.
 *
 *   node bench/smollm2.mjs --model DIR --reviews DIR [--steps 600] [--learningRate 4e-5] [--offload host|device]
 *   [--threads 2] [--saved DIR]
 *
 * Of `train.jsonl` the last --dev sentences are left out and evaluated on the way (the learning rate was chosen on
 * them); `test.jsonl` is read for the two scores only. Writes bench/results/smollm2-cpu.json (--out): every step's loss
 * and seconds, the evaluations, and what was said.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { loadModel, Trainer } from "../dist/esm/index.js";
import { loadNative } from "zo2/native";
import { describeCommit, describeMachine } from "./lib/machine.mjs";
import { oneOf, readOptions, runMain } from "./lib/options.mjs";
import { readReviews, REVIEWS_TEMPLATE } from "./lib/reviews.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const DEFAULTS = {
  model: null,
  reviews: path.join(root, "docs", "demo", "reviews"),
  steps: 600,
  batch: 16,
  learningRate: 4e-5,
  eps: 1e-3,
  seed: 0,
  dev: 200,
  every: 100,
  offload: "host",
  threads: 2,
  saved: null,
  out: path.join(root, "bench", "results", "smollm2-cpu.json"),
};

const QUESTIONS = ["What is the capital of France?", "Name three colours."];

const digits = (value) => Number(value.toPrecision(6));

async function ask(model) {
  const said = [];
  for (const question of QUESTIONS) {
    const start = performance.now();
    const { ids, text, reason } = await model
      .generate({ messages: [{ role: "user", content: question }] }, { maxNewTokens: 48 })
      .result();
    said.push({
      question,
      answer: text,
      reason,
      tokens: ids.length,
      seconds: digits((performance.now() - start) / 1000),
    });
  }
  return said;
}

async function score(model, data) {
  const { loss, accuracy, examples, seconds } = await model.evaluate(data, { template: REVIEWS_TEMPLATE });
  return { loss: digits(loss), accuracy, examples, seconds: digits(seconds) };
}

async function train(model, data, dev, o) {
  const trainer = new Trainer(model, {
    method: { name: "mezo-sgd", learningRate: o.learningRate, eps: o.eps, schedule: { name: "linear" } },
    steps: o.steps,
    batchSize: o.batch,
    seed: o.seed,
    template: REVIEWS_TEMPLATE,
    evaluation: { data: dev, every: o.every },
  });
  const steps = [];
  const evaluations = [];
  const onEvaluation = ({ step, loss, accuracy }) => {
    evaluations.push({ step, loss: digits(loss), accuracy });
    console.log(
      `after step ${step}: accuracy ${accuracy}, loss ${loss.toFixed(4)} on the ${dev.length} sentences that ` +
        "were left out",
    );
  };
  for await (const { loss, seconds, tokens } of trainer.fit(data, { onEvaluation }))
    steps.push({ loss: digits(loss), seconds: digits(seconds), tokens });
  return { steps, evaluations };
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

await runMain("smollm2", async () => {
  const o = readOptions(process.argv.slice(2), DEFAULTS);
  oneOf(o, "offload", ["host", "device"]);
  if (o.model === null) throw new Error("--model is missing; give the folder of SmolLM2-135M-Instruct");
  const saved = o.saved ?? fs.mkdtempSync(path.join(os.tmpdir(), "zo2-smollm2-"));
  const { train: data, dev, test } = readReviews(o.reviews, o.dev);
  const options = { device: "cpu", threads: o.threads, offload: { to: o.offload, wire: "fp32" } };

  const model = await loadModel(o.model, options);
  const before = { test: await score(model, test), said: await ask(model) };
  console.log(`before: accuracy ${before.test.accuracy}, loss ${before.test.loss} on ${test.length} sentences`);
  const { steps, evaluations } = await train(model, data, dev, o);
  const plan = model.plan();
  const parameters = model.parameterCount;
  await model.save(saved);
  await model.dispose();

  const again = await loadModel(saved, options);
  const after = { test: await score(again, test), said: await ask(again) };
  await again.dispose();
  if (o.saved === null) fs.rmSync(saved, { recursive: true });
  console.log(`after: accuracy ${after.test.accuracy}, loss ${after.test.loss}`);

  const result = {
    bench: "smollm2",
    date: new Date().toISOString(),
    ...describeCommit(root),
    device: describeMachine(),
    node: process.version,
    build: loadNative().build,
    model: { name: "SmolLM2-135M-Instruct", parameters },
    threads: o.threads,
    offload: o.offload,
    wire: "fp32",
    steps: o.steps,
    batch: o.batch,
    learningRate: o.learningRate,
    schedule: "linear",
    eps: o.eps,
    seed: o.seed,
    template: REVIEWS_TEMPLATE,
    deviceBytes: plan.deviceBytes,
    hostBytes: plan.hostBytes,
    secondsPerStep: median(steps.map((s) => s.seconds)),
    before,
    after,
    evaluations,
    curve: { loss: steps.map((s) => s.loss), seconds: steps.map((s) => s.seconds), tokens: steps.map((s) => s.tokens) },
  };
  fs.mkdirSync(path.dirname(o.out), { recursive: true });
  fs.writeFileSync(o.out, `${JSON.stringify(result, null, 1)}\n`);
  console.log(`written: ${o.out}`);
});
