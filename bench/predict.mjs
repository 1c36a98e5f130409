/**
 * The step times that are predicted from what this machine was measured to do, beside the times that steps take: the
 * CPU backend, plans of several models, residences, unit sizes, dtypes and kinds of noise. What the predictions are
 * made from (`src/measure`) are steps of other models; nothing here is fitted to the steps that are predicted.
 *
 *   node bench/predict.mjs [--smollm2 DIR] [--rounds 3] [--steps 3] [--threads 2] [--rest 1] [--only NAME]
 *
 * The machine is measured anew in each round, and each plan predicted from that; medians over the rounds count. --rest
 * N: behind every step the machine is left to others for N times as long as it took. Where others use it all the time,
 * `chrt -r 1 node bench/predict.mjs` keeps the cores for the steps alone. Without --smollm2 its plans are left out.
 */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { nativeBuild } from "../dist/esm/device/open.js";
import { loadModel } from "../dist/esm/index.js";
import { loadedOf } from "../dist/esm/loaded.js";
import { measureHardware } from "../dist/esm/measure/measure.js";
import { batchOfShape, takeSteps } from "../dist/esm/measure/steps.js";
import { symbolsOf, touchedRows } from "../dist/esm/memory/batch-tables.js";
import { METHODS } from "../dist/esm/method/index.js";
import { simulateStep } from "../dist/esm/simulate/simulate.js";
import { describeCommit, describeMachine, machineSeconds, processSeconds } from "./lib/machine.mjs";
import { OPT_125M } from "./lib/opt-shape.mjs";
import { readOptions, runMain } from "./lib/options.mjs";
import { median } from "./lib/summary.mjs";
import { openSynthetic, recordOpt } from "./lib/synthetic.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const DEFAULTS = {
  ...{ smollm2: null, rounds: 3, steps: 3, threads: 2, rest: 0, only: null },
  out: path.join(root, "bench", "results", "predict-cpu.json"),
};

const opt = (layers, hidden, vocab = 8192) => ({
  ...{ layers, hidden, ffn: 4 * hidden, heads: hidden / 64, vocab, maxpos: 2048 },
});
const MODELS = {
  "OPT-125M": OPT_125M,
  "OPT 4 x 768": opt(4, 768, 16384),
  "OPT 2 x 2048": opt(2, 2048),
  "OPT 16 x 256": opt(16, 256),
};

/** What is not said: streamed in fp32 by three slots, units of whole layers, Gaussian noise, overlap. */
const PLANS = [
  { model: "SmolLM2-135M", batch: 1, length: 64 },
  { model: "SmolLM2-135M", batch: 4, length: 64, to: "device" },
  { model: "SmolLM2-135M", batch: 8, length: 96, wire: "bf16" },
  { model: "SmolLM2-135M", batch: 2, length: 128, wire: "fp16", noise: "rademacher" },
  { model: "SmolLM2-135M", batch: 1, length: 256, unitBytes: 4 * 2 ** 20 },
  { model: "SmolLM2-135M", batch: 2, length: 32, wire: "bf16", dtype: "bf16", to: "device" },
  { model: "OPT-125M", batch: 1, length: 64 },
  { model: "OPT-125M", batch: 4, length: 64, wire: "fp16", dtype: "fp16" },
  { model: "OPT-125M", batch: 1, length: 256, to: "device", noise: "rademacher" },
  { model: "OPT-125M", batch: 2, length: 96, unitBytes: 8 * 2 ** 20 },
  { model: "OPT 4 x 768", batch: 1, length: 16 },
  { model: "OPT 4 x 768", batch: 8, length: 128 },
  { model: "OPT 4 x 768", batch: 8, length: 64, microBatch: 2, overlap: false },
  { model: "OPT 4 x 768", batch: 1, length: 1024, to: "device" },
  { model: "OPT 4 x 768", batch: 1, length: 32, wire: "bf16", dtype: "bf16", noise: "rademacher" },
  { model: "OPT 2 x 2048", batch: 1, length: 64 },
  { model: "OPT 2 x 2048", batch: 2, length: 128, wire: "fp16", dtype: "fp16", slots: 2 },
  { model: "OPT 2 x 2048", batch: 1, length: 128, unitBytes: 16 * 2 ** 20, overlap: false },
  { model: "OPT 16 x 256", batch: 4, length: 128, to: "device" },
  { model: "OPT 16 x 256", batch: 2, length: 32, slots: 4, noise: "rademacher" },
].map((plan) => ({
  ...{ to: "host", wire: "fp32", dtype: "fp32", noise: "gaussian", overlap: true, slots: 3, unitBytes: null },
  ...plan,
}));

async function open(plan, o) {
  const { to, wire, dtype, slots, overlap } = plan;
  const unitBytes = plan.unitBytes ?? undefined;
  if (plan.model === "SmolLM2-135M") {
    const offload = { to, wire, slots, overlap, ...(unitBytes === undefined ? {} : { unitBytes }) };
    const model = await loadModel(o.smollm2, { device: "cpu", threads: o.threads, dtype, offload });
    const { session, definition } = loadedOf(model);
    return { session, definition, dispose: () => model.dispose() };
  }
  const shape = MODELS[plan.model];
  const settings = { device: "cpu", threads: o.threads, wire, compute: dtype, unitBytes, to, slots, overlap };
  const session = await openSynthetic(shape, settings);
  return { session, definition: recordOpt(shape).definition, dispose: () => session.dispose() };
}

const rest = (o, seconds) => new Promise((resolve) => setTimeout(resolve, o.rest * seconds * 1e3));

/** Seconds of steps, with the cores that others used meanwhile, and what is predicted for the same plan. */
async function measure(plan, o, hardware, first) {
  const { session, definition, dispose } = await open(plan, o);
  try {
    const { head, vocabSize } = definition;
    const microBatch = plan.microBatch ?? plan.batch;
    const microBatches = Array.from({ length: plan.batch / microBatch }, () => microBatch);
    const batch = batchOfShape(head, vocabSize, { microBatches, length: plan.length });
    const settings = { noise: plan.noise, eps: 1e-3, learningRate: 1e-7 };
    const before = [performance.now(), machineSeconds(), processSeconds(process.pid)];
    // The first has nothing pending, and meets cold memory.
    const [warm, ...steps] = await takeSteps(session, batch, { ...settings, first, count: 1 + o.steps });
    const wall = (performance.now() - before[0]) / 1e3;
    const foreign = (machineSeconds() - before[1] - (processSeconds(process.pid) - before[2])) / wall;
    await rest(o, wall);
    const table = session.gathers ? touchedRows(batch) : null;
    const step = { noise: plan.noise, overlap: plan.overlap, microBatches: batch.length };
    const predicted = simulateStep(session.plan, session.recording.inputs, hardware, {
      ...{
        ...step,
        symbols: symbolsOf(batch[0], table),
        probes: METHODS["mezo-sgd"].step({ eps: 1, directions: 1 }).probes,
      },
    });
    return { units: session.units.length, predicted: predicted.seconds, warm, steps, foreign };
  } finally {
    await dispose();
  }
}

await runMain("predict", async () => {
  const o = readOptions(process.argv.slice(2), DEFAULTS);
  const plans = PLANS.filter(
    ({ model }) => (o.smollm2 !== null || model !== "SmolLM2-135M") && (o.only === null || model.startsWith(o.only)),
  );
  const rows = plans.map((plan) => ({ ...plan, rounds: [] }));
  const measured = [];
  for (let round = 0; round < o.rounds; round++) {
    const begin = performance.now();
    const between = (seconds) => rest(o, seconds);
    const hardware = await measureHardware({ device: "cpu", threads: o.threads }, { between });
    measured.push({ hardware, seconds: (performance.now() - begin) / 1e3 });
    for (const row of rows) {
      const { units, ...of } = await measure(row, o, hardware, round * (o.steps + 1));
      row.rounds.push(of);
      row.units = units;
      row.predicted = median(row.rounds.map(({ predicted }) => predicted));
      row.seconds = median(row.rounds.flatMap(({ steps }) => steps));
      row.error = row.predicted / row.seconds - 1;
      const { model, batch, length, predicted, seconds, error } = row;
      console.log(
        model,
        `${batch}x${length}`,
        predicted.toFixed(4),
        seconds.toFixed(4),
        `${(100 * error).toFixed(1)} %`,
      );
    }
  }
  const about = { bench: "predict", date: new Date().toISOString(), node: process.version, ...describeCommit(root) };
  const machine = { build: nativeBuild().build, device: describeMachine(), threads: o.threads };
  const result = { ...about, ...machine, rest: o.rest, measured, rows };
  fs.mkdirSync(path.dirname(o.out), { recursive: true });
  fs.writeFileSync(o.out, `${JSON.stringify(result, null, 2)}\n`);
});
