/** Two worker threads that use a model of their own, and one that is terminated amid its training. */
import { Worker } from "node:worker_threads";

const [assets] = process.argv.slice(2);
function run(end) {
  const worker = new Worker(new URL("./worker.mjs", import.meta.url), { workerData: { assets, end } });
  const said = [];
  return new Promise((resolve, reject) => {
    worker.on("error", reject);
    worker.on("exit", () => resolve(said));
    worker.on("message", (message) => {
      said.push(message);
      if (message === "training") void worker.terminate();
    });
  });
}
console.log(JSON.stringify(await Promise.all([run("dispose"), run("dispose"), run("terminate")])));
