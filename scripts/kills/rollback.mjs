/** Begins the run that the argument describes, or goes on with it: one step goes wrong, and takes two back with it. */
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { loadModel, Trainer } from "../../dist/esm/index.js";

const { model: folder, data, run, out, steps, durability } = JSON.parse(process.argv[2]);
const WRONG = 9;
const test = { projectedGradient: (step) => (step === WRONG ? Number.NaN : undefined) };
const options = {
  ...{ method: { name: "mezo-sgd", learningRate: 1e-2 }, steps, batchSize: 2, seed: 5, run, durability, test },
  ...{ snapshots: { every: 4, keep: 3 }, onDivergence: "rollback:3" },
};
const model = await loadModel(folder, {
  device: "cpu",
  threads: 1,
  offload: { to: "host", wire: "fp16" },
  rounding: "stochastic",
});
const onWarning = () => undefined;
const trainer = fs.existsSync(path.join(run, "run.zo2"))
  ? await Trainer.resume(model, run, { test }, { onWarning })
  : new Trainer(model, options);
await fs.promises.mkdir(run, { recursive: true });
const yielded = await fs.promises.open(path.join(run, "metrics.jsonl"), "a");
for await (const { index } of trainer.fit(data, { onWarning }))
  await yielded.appendFile(`${JSON.stringify({ step: index })}\n`);
await yielded.close();
await model.save(out);
await model.dispose();
