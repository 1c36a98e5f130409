/** Ends while the device computes: by process.exit(7), or by an exception that nobody catches. */
import path from "node:path";
import { loadModel, Trainer } from "zo2";

const [assets, end] = process.argv.slice(2);

// No await at the top level: Bun 1.4 does not end for an uncaught exception while one is pending.
async function main() {
  const model = await loadModel(path.join(assets, "tiny-opt"));
  const trainer = new Trainer(model, { method: { name: "mezo-sgd", learningRate: 1e-6 }, steps: 1e6, batchSize: 16 });
  const examples = Array.from({ length: 16 }, (_, i) => ({ ids: Array.from({ length: 64 }, (_, t) => 2 + i + t) }));
  for await (const step of trainer.fit(examples)) {
    if (step.index < 3) continue;
    if (end === "exit") process.exit(7);
    // While the next step runs.
    setTimeout(() => {
      throw new Error("thrown on purpose");
    }, 0);
  }
}

void main();
