/**
 * What a wire dtype costs in what a model learns: SmolLM2-135M-Instruct is tuned on the review sentences as
 * docs/tutorial-smollm2.md does it, for some steps, with its weights at rest in each dtype; all else is the same. The
 * 200 sentences that are held out are scored on the way and the test sentences once, before and after.
 *
 *   node bench/wire-accuracy.mjs --model DIR [--steps 150] [--learningRate 4e-5] [--threads 2] [--wires fp32,fp16,...]
 *
 * Writes bench/results/wire-accuracy.json (--out) after every wire: a table of docs/concepts.md. Its seconds are not to
 * be compared; whatever else the machine does changes no figure in it.
 */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { loadNative } from "zo2/native";
import { loadModel, Trainer } from "../dist/esm/index.js";
import { describeCommit, describeMachine } from "./lib/machine.mjs";
import { readOptions, runMain } from "./lib/options.mjs";
import { readReviews, REVIEWS_TEMPLATE } from "./lib/reviews.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const DEFAULTS = {
  ...{ model: null, reviews: path.join(root, "docs", "demo", "reviews"), dev: 200, every: 50 },
  ...{ steps: 150, batch: 16, learningRate: 4e-5, eps: 1e-3, seed: 0, threads: 2 },
  wires: "fp32,bf16:nearest,bf16:stochastic,fp16:nearest,fp16:stochastic,int8:stochastic,e4m3:stochastic",
  out: path.join(root, "bench", "results", "wire-accuracy.json"),
};

const digits = (value) => Number(value.toPrecision(6));
const scoreOf = ({ loss, accuracy }) => ({ loss: digits(loss), accuracy });

/** What comes of the model with its weights in one dtype. */
async function tune(o, data, { wire, rounding }) {
  const model = await loadModel(o.model, {
    ...{ device: "cpu", threads: o.threads, rounding },
    offload: { to: "host", wire },
  });
  try {
    const score = async () => scoreOf(await model.evaluate(data.test, { template: REVIEWS_TEMPLATE }));
    const before = await score();
    const trainer = new Trainer(model, {
      method: { name: "mezo-sgd", learningRate: o.learningRate, eps: o.eps, schedule: { name: "linear" } },
      ...{ steps: o.steps, batchSize: o.batch, seed: o.seed, template: REVIEWS_TEMPLATE },
      evaluation: { data: data.dev, every: o.every },
    });
    const dev = [];
    const warned = [];
    const onEvaluation = ({ step, loss, accuracy }) => dev.push({ step, loss: digits(loss), accuracy });
    const onWarning = ({ code }) => warned.push(code);
    const losses = [];
    for await (const { loss } of trainer.fit(data.train, { onEvaluation, onWarning })) losses.push(digits(loss));
    const row = {
      wire,
      rounding,
      before,
      after: await score(),
      dev,
      warned,
      hostBytes: model.plan().hostBytes,
      losses,
    };
    const { accuracy, loss } = row.after;
    console.log(`${wire} ${rounding}: accuracy ${before.accuracy.toFixed(3)} to ${accuracy.toFixed(3)}, loss ${loss}`);
    return row;
  } finally {
    await model.dispose();
  }
}

await runMain("wire-accuracy", async () => {
  const o = readOptions(process.argv.slice(2), DEFAULTS);
  if (o.model === null) throw new Error("--model is missing; give the folder of SmolLM2-135M-Instruct");
  const data = readReviews(o.reviews, o.dev);
  const about = { bench: "wire-accuracy", date: new Date().toISOString(), ...describeCommit(root) };
  const machine = { device: describeMachine(), node: process.version, build: loadNative().build };
  const { steps, batch, learningRate, eps, seed } = o;
  const rows = [];
  for (const way of o.wires.split(",")) {
    const [wire, rounding = "nearest"] = way.split(":");
    rows.push(await tune(o, data, { wire, rounding }));
    const settings = { model: "SmolLM2-135M-Instruct", steps, batch, learningRate, eps, seed };
    fs.writeFileSync(o.out, `${JSON.stringify({ ...about, ...machine, ...settings, rows }, null, 1)}\n`);
  }
});
