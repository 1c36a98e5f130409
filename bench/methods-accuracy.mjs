/**
 * What each method learns from the same number of forward passes: SmolLM2-135M-Instruct is tuned on the review
 * sentences as docs/tutorial-smollm2.md does it, its weights streamed from host memory in fp32. Of each candidate every
 * rate of a small grid is tried, and scored on the test sentences once, at its end; the one with the least loss on the
 * 200 sentences that are held out is shown.
 *
 *   node bench/methods-accuracy.mjs --model DIR [--only mezo-sgd,fzoo-4,...] [--rates 1e-5,...] [--passes 160]
 *     [--threads 2]
 *
 * Writes bench/results/methods-accuracy.json (--out) after every trial, beside what it has of other candidates and
 * rates: a table of docs/methods.md. Seconds are those of training, without the evaluations, on whatever else the
 * machine did then.
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
  ...{ model: null, reviews: path.join(root, "docs", "demo", "reviews"), dev: 200, looks: 4 },
  ...{ passes: 160, batch: 16, seed: 0, threads: 2, only: null, rates: null },
  out: path.join(root, "bench", "results", "methods-accuracy.json"),
};

const lora = { name: "lora", rank: 8, alpha: 16, targets: ["q_proj", "v_proj"] };
const prefix = { name: "prefix", tokens: 5 };
/** Passes: forward passes over a batch that one step takes. */
const CANDIDATES = {
  "mezo-sgd": { method: { name: "mezo-sgd", eps: 1e-3 }, passes: 2, rates: [4e-5, 8e-5, 1.6e-4] },
  "fzoo-4": { method: { name: "fzoo", directions: 4, eps: 1e-3 }, passes: 5, rates: [1e-6, 2e-6, 4e-6] },
  "fzoo-8": { method: { name: "fzoo", directions: 8, eps: 1e-3 }, passes: 9, rates: [2e-6, 4e-6, 8e-6] },
  lozo: { method: { name: "lozo", eps: 1e-3 }, passes: 2, rates: [4e-5, 8e-5] },
  lora: { method: { name: "mezo-sgd", eps: 1e-2 }, passes: 2, rates: [1e-3, 3e-3, 1e-2], adapter: lora },
  prefix: { method: { name: "mezo-sgd", eps: 1e-1 }, passes: 2, rates: [3e-2, 1e-1], adapter: prefix },
};

const digits = (value) => Number(value.toPrecision(6));
const scoreOf = ({ loss, accuracy }) => ({ loss: digits(loss), accuracy });

/** One training; `test` scores it on the test sentences. */
async function tune(o, data, { method, passes, adapter }, learningRate) {
  const { eps: _, ...probes } = method;
  const model = await loadModel(o.model, {
    ...{ device: "cpu", threads: o.threads, ...(adapter === undefined ? {} : { adapter }) },
    ...{ offload: { to: "host", wire: "fp32" }, workload: { method: probes } },
  });
  try {
    const steps = Math.round(o.passes / passes);
    const trainer = new Trainer(model, {
      method: { ...method, learningRate, schedule: { name: "linear" } },
      ...{ steps, batchSize: o.batch, seed: o.seed, template: REVIEWS_TEMPLATE },
      evaluation: { data: data.dev, every: Math.ceil(steps / o.looks) },
    });
    const dev = [];
    let evaluating = 0;
    const began = performance.now();
    let left = began;
    const onEvaluation = ({ step, loss, accuracy }) => {
      evaluating += performance.now() - left;
      const seconds = (performance.now() - began - evaluating) / 1000;
      dev.push({ step, passes: step * passes, seconds: digits(seconds), loss: digits(loss), accuracy });
    };
    const losses = [];
    for await (const { loss } of trainer.fit(data.train, { onEvaluation })) {
      losses.push(digits(loss));
      left = performance.now();
    }
    const test = scoreOf(await model.evaluate(data.test, { template: REVIEWS_TEMPLATE }));
    return { learningRate, steps, dev, losses, test };
  } finally {
    await model.dispose();
  }
}

await runMain("methods-accuracy", async () => {
  const o = readOptions(process.argv.slice(2), DEFAULTS);
  if (o.model === null) throw new Error("--model is missing; give the folder of SmolLM2-135M-Instruct");
  const data = readReviews(o.reviews, o.dev);
  const before = fs.existsSync(o.out) ? JSON.parse(fs.readFileSync(o.out, "utf8")) : { candidates: {} };
  const about = { bench: "methods-accuracy", date: new Date().toISOString(), ...describeCommit(root) };
  const machine = { device: describeMachine(), node: process.version, build: loadNative().build };
  const { passes, batch, seed } = o;
  const settings = { model: "SmolLM2-135M-Instruct", passes, batch, seed };
  const candidates = { ...before.candidates };
  for (const name of o.only === null ? Object.keys(CANDIDATES) : o.only.split(",")) {
    const candidate = CANDIDATES[name];
    if (candidate === undefined) throw new Error(`--only: there is no ${name}`);
    for (const rate of o.rates === null ? candidate.rates : o.rates.split(",").map(Number)) {
      const others = (candidates[name]?.trials ?? []).filter(({ learningRate }) => learningRate !== rate);
      const trial = { commit: about.commit, ...(await tune(o, data, candidate, rate)) };
      const trials = [...others, trial].toSorted((a, b) => a.learningRate - b.learningRate);
      const { dev, test } = trial;
      console.log(`${name} at ${rate}: held out ${dev.at(-1)?.accuracy.toFixed(3)}, test ${test.accuracy.toFixed(3)}`);
      candidates[name] = { passes: candidate.passes, trials };
      fs.writeFileSync(o.out, `${JSON.stringify({ ...about, ...machine, ...settings, candidates }, null, 1)}\n`);
    }
  }
});
