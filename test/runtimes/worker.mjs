/** Of workers.mjs: sends what the model says, or trains until it is terminated. */
import path from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import { loadModel, Trainer } from "zo2";

const model = await loadModel(path.join(workerData.assets, "tiny-opt"), { threads: 1 });
const inputs = Array.from({ length: 8 }, (_, i) => ({ ids: [2, 5 + i, 9, 11] }));
const sums = [];
for await (const { sum } of model.score(inputs)) sums.push(sum);
parentPort.postMessage(sums);
if (workerData.end === "dispose") {
  await model.dispose();
} else {
  const trainer = new Trainer(model, { method: { name: "mezo-sgd", learningRate: 1e-6 }, steps: 1e6, batchSize: 4 });
  for await (const step of trainer.fit(inputs)) if (step.index === 2) parentPort.postMessage("training");
}
