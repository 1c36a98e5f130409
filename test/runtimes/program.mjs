/**
 * What a program does with zo2, on whatever runtime runs this: prints one line of JSON, the same on each of them, and
 * ends by itself. scripts/check-runtimes.mjs compares the lines.
 */
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { loadModel, Trainer } from "zo2";

const [assets] = process.argv.slice(2);
const template = { prompt: "{text} How is it?", choices: [" terrible", " great"] };
const lines = (name, count) =>
  readFileSync(path.join(assets, "reviews", name), "utf8")
    .trim()
    .split("\n")
    .slice(0, count)
    .map(JSON.parse);
const hash = (bytes) => createHash("sha256").update(bytes).digest("hex");
const codeOf = (promise) =>
  promise.then(
    () => "no error",
    (error) => error.code ?? String(error),
  );

const model = await loadModel(path.join(assets, "tiny-opt"), { offload: { to: "host", wire: "bf16" } });
const seen = {};
seen.before = await model.evaluate(lines("test.jsonl", 48), { template });
const method = { name: "mezo-sgd", learningRate: 1e-4, weightDecay: 0.01 };
const trainer = new Trainer(model, { method, steps: 4, batchSize: 16, seed: 5, template });
seen.losses = [];
for await (const step of trainer.fit(lines("train.jsonl", 64))) seen.losses.push(step.loss);
seen.after = await model.evaluate(lines("test.jsonl", 48), { template });
for (const report of [seen.before, seen.after]) delete report.seconds;

const prompt = { text: "The food was" };
const answer = model.generate(prompt, { maxNewTokens: 8 });
const pieces = [];
for await (const piece of answer) pieces.push(piece);
seen.generated = [pieces.join(""), (await answer.result()).ids];

const folder = mkdtempSync(path.join(os.tmpdir(), "zo2-runtime-"));
try {
  for (const dtype of ["wire", "fp32"]) {
    await model.save(path.join(folder, dtype), { dtype });
    seen[dtype] = hash(readFileSync(path.join(folder, dtype, "model.safetensors")));
  }
} finally {
  rmSync(folder, { recursive: true });
}

const stop = new AbortController();
const aborted = model.evaluate(lines("test.jsonl", 400), { template, signal: stop.signal });
stop.abort();
seen.errors = [
  await codeOf(aborted),
  await codeOf(loadModel(path.join(assets, "tiny-opt"), { device: "tpu" })),
  await codeOf(loadModel(path.join(assets, "nothing-here"))),
];
await model.dispose();
seen.errors.push(await codeOf(model.evaluate(lines("test.jsonl", 1), { template })));
console.log(JSON.stringify(seen));
