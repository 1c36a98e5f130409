/**
 * How good the learning rate is that `"auto"` chooses: a model is tuned on the review sentences for some steps with
 * each rate of a grid, and with the one that was chosen; all else is the same. Sentences that are held out are scored
 * before and after. Unfavourable rows stay.
 *
 *   node bench/auto-rate.mjs --model DIR --name NAME --rates 1e-5,3e-5,... [--prompt "{text} How is it?"]
 *     [--method fzoo] [--directions 8] [--antithetic] [--steps 150] [--batch 16] [--dev 200] [--seed 0] [--threads 2]
 *
 * Writes the rows of that model and method into bench/results/auto-rate.json (--out) after every rate, beside those of
 * others: a table of docs/methods.md. No figure in it is a time.
 */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { loadNative } from "zo2/native";
import { isZo2Error, loadModel, Trainer } from "../dist/esm/index.js";
import { describeCommit, describeMachine } from "./lib/machine.mjs";
import { readOptions, runMain } from "./lib/options.mjs";
import { readReviews, REVIEWS_TEMPLATE } from "./lib/reviews.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const DEFAULTS = {
  ...{ model: null, name: null, prompt: REVIEWS_TEMPLATE.prompt, reviews: path.join(root, "docs", "demo", "reviews") },
  ...{ method: "mezo-sgd", directions: 1, antithetic: false, rates: null },
  ...{ steps: 150, batch: 16, dev: 200, seed: 0, threads: 2, wire: "fp32" },
  out: path.join(root, "bench", "results", "auto-rate.json"),
};

const digits = (value) => (Number.isFinite(value) ? Number(value.toPrecision(6)) : null);
const scoreOf = ({ loss, accuracy }) => ({ loss: digits(loss), accuracy });

/** What becomes of the base with one rate. */
async function tune(model, o, method, data, text, learningRate) {
  return model.withRuns([], async () => {
    const trainer = new Trainer(model, {
      method: { ...method, learningRate },
      ...{ steps: o.steps, batchSize: o.batch, seed: o.seed, ...text },
    });
    let choice;
    let steps = 0;
    try {
      const onLearningRate = (chosen) => {
        choice = chosen;
      };
      for await (const { index } of trainer.fit(data.train, { onLearningRate })) steps = index + 1;
      const after = scoreOf(await model.evaluate(data.dev, text));
      return { learningRate: trainer.options.method.learningRate, steps, ...after, choice };
    } catch (error) {
      if (!isZo2Error(error) || !["ZO2_ERR_NOT_FINITE", "ZO2_ERR_DIVERGED"].includes(error.code)) throw error;
      return { learningRate: trainer.options.method.learningRate, steps, diverged: true, choice };
    }
  });
}

function readRows(file) {
  return fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, "utf8")).models : [];
}

await runMain("auto-rate", async () => {
  const o = readOptions(process.argv.slice(2), DEFAULTS);
  const missing = ["model", "name", "rates"].filter((option) => o[option] === null);
  if (missing.length > 0) throw new Error(`missing: --${missing.join(", --")}`);
  const method = { name: o.method, directions: o.directions, ...(o.antithetic ? { antithetic: true } : {}) };
  const data = readReviews(o.reviews, o.dev);
  const text = { template: { ...REVIEWS_TEMPLATE, prompt: o.prompt }, maxLength: 96, truncation: "left" };
  const about = { bench: "auto-rate", date: new Date().toISOString(), ...describeCommit(root) };
  const machine = { device: describeMachine(), node: process.version, build: loadNative().build };
  const model = await loadModel(o.model, {
    ...{ device: "cpu", threads: o.threads, offload: { to: "host", wire: o.wire }, workload: { method } },
  });
  try {
    const before = scoreOf(await model.evaluate(data.dev, text));
    const rows = [];
    for (const rate of ["auto", ...o.rates.split(",").map(Number)]) {
      const { choice, ...row } = await tune(model, o, method, data, text, rate);
      rows.push({ chosen: rate === "auto", ...row, ...(choice === undefined ? {} : { choice }) });
      console.log(JSON.stringify(rows.at(-1)));
      const { name, steps, batch, seed, dev, wire } = o;
      const others = readRows(o.out).filter((other) => other.name !== name || !isDeepStrictEqual(other.method, method));
      const models = [...others, { ...{ name, method, steps, batch, seed, dev, wire, eps: 1e-3 }, before, rows }];
      fs.writeFileSync(o.out, `${JSON.stringify({ ...about, ...machine, models }, null, 1)}\n`);
    }
  } finally {
    await model.dispose();
  }
});
