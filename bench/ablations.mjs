/**
 * What each idea of the paper brings: MeZO steps of one model with one of them taken away, by turns in one process, on
 * the device of this machine; and the same plans as they are predicted for GPUs.
 *
 *   node bench/ablations.mjs --model DIR [--batch 1 --seq 64] [--rounds 3 --steps 3] [--device cpu] [--rest 0]
 *
 * --rest N: behind every step the machine is left to others for N times as long as it took.
 */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { nativeBuild } from "../dist/esm/device/open.js";
import { loadModel } from "../dist/esm/index.js";
import { loadedOf } from "../dist/esm/loaded.js";
import { batchOfShape, takeSteps } from "../dist/esm/measure/steps.js";
import { symbolsOf, touchedRows } from "../dist/esm/memory/batch-tables.js";
import { deviceBytes } from "../dist/esm/memory/plan.js";
import { METHODS } from "../dist/esm/method/index.js";
import { hardwareNamed } from "../dist/esm/simulate/hardware.js";
import { simulateStep } from "../dist/esm/simulate/simulate.js";
import { describeCommit, describeMachine } from "./lib/machine.mjs";
import { readOptions, runMain } from "./lib/options.mjs";
import { median } from "./lib/summary.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const DEFAULTS = {
  ...{ model: null, batch: 1, seq: 64, rounds: 3, steps: 3, device: "cpu", threads: 2, rest: 0 },
  out: path.join(root, "bench", "results", "ablations-cpu.json"),
};
const GPUS = ["rtx-4090", "h100"];

/** The first is what the others are compared with. */
const CASES = [
  { name: "all: streamed, fp32, three slots" },
  { name: "no overlap", offload: { overlap: false } },
  { name: "no deferred update: a pass of its own", flushes: true },
  { name: "one slot", offload: { slots: 1 } },
  { name: "two slots", offload: { slots: 2 } },
  { name: "four slots", offload: { slots: 4 } },
  { name: "nothing streams: all resident", offload: { to: "device" } },
  { name: "fp16 on the wire", offload: { wire: "fp16" } },
  { name: "bf16 on the wire", offload: { wire: "bf16" } },
  { name: "fp16 on the wire and in products", offload: { wire: "fp16" }, dtype: "fp16" },
  { name: "units of at most 1 MiB", offload: { unitBytes: 2 ** 20 } },
  { name: "units of at most 4 MiB", offload: { unitBytes: 4 * 2 ** 20 } },
];

async function round(asked, o, first) {
  const offload = { wire: "fp32", ...asked.offload };
  const { device, threads } = o;
  const model = await loadModel(o.model, { device, threads, dtype: asked.dtype ?? "fp32", offload });
  try {
    const { session, definition } = loadedOf(model);
    const shape = { microBatches: [o.batch], length: o.seq };
    const batch = batchOfShape(definition.head, definition.vocabSize, shape);
    const settings = { noise: "gaussian", eps: 1e-3, learningRate: 1e-7, flushes: asked.flushes === true };
    const begin = performance.now();
    const [, ...seconds] = await takeSteps(session, batch, { ...settings, first, count: 1 + o.steps });
    await new Promise((resolve) => setTimeout(resolve, o.rest * (performance.now() - begin)));
    const table = session.gathers ? touchedRows(batch) : null;
    const { probes } = METHODS["mezo-sgd"].step({ eps: 1, directions: 1 });
    // A pass of its own for the update is not among what is simulated.
    const predicted = asked.flushes === true ? [] : GPUS;
    const predict = (gpu) =>
      simulateStep(session.plan, session.recording.inputs, hardwareNamed(gpu), {
        ...{ noise: "gaussian", overlap: model.options.offload.overlap, microBatches: 1, probes },
        symbols: symbolsOf(batch[0], table),
      }).seconds;
    const { info, units, plan } = { info: session.info(), units: session.units.length, plan: session.plan };
    return {
      ...{ seconds, units, deviceBytes: deviceBytes(plan), device: { kind: info.kind, name: info.name } },
      predicted: Object.fromEntries(predicted.map((gpu) => [gpu, predict(gpu)])),
      parameters: model.parameterCount,
    };
  } finally {
    await model.dispose();
  }
}

await runMain("ablations", async () => {
  const o = readOptions(process.argv.slice(2), DEFAULTS);
  if (o.model === null) throw new Error("--model is missing: the folder of a model");
  const rows = CASES.map(({ name, ...options }) => ({ name, options, rounds: [] }));
  let about = {};
  for (let i = 0; i < o.rounds; i++) {
    for (const [c, row] of rows.entries()) {
      const { seconds, device, parameters, ...of } = await round(CASES[c], o, i * (o.steps + 1));
      about = { runs: device, parameters };
      row.rounds.push(seconds);
      Object.assign(row, of);
    }
  }
  const secondsOf = ({ rounds }) => median(rounds.flat());
  for (const row of rows) {
    row.seconds = secondsOf(row);
    // Within a round, what others do meanwhile meets both more alike than across them.
    const ratios = row.rounds.map((steps, i) => median(steps) / median(rows[0].rounds[i]));
    Object.assign(row, { ratio: median(ratios), least: Math.min(...ratios), most: Math.max(...ratios) });
    row.predictedRatio = Object.fromEntries(
      Object.entries(row.predicted).map(([gpu, seconds]) => [gpu, seconds / rows[0].predicted[gpu]]),
    );
    const on = Object.entries(row.predictedRatio).map(([gpu, ratio]) => `${gpu} ${ratio.toFixed(2)} (predicted)`);
    const spread = `${row.least.toFixed(2)} to ${row.most.toFixed(2)}`;
    console.log(`${row.name.padEnd(40)} ${row.seconds.toFixed(3)} s  x ${row.ratio.toFixed(2)} (${spread})`, ...on);
  }
  const bench = { bench: "ablations", date: new Date().toISOString(), node: process.version, ...describeCommit(root) };
  const machine = { build: nativeBuild().build, device: describeMachine(), threads: o.threads, ...about };
  const asked = { model: path.basename(o.model), batch: o.batch, seq: o.seq, steps: o.steps, rest: o.rest };
  const titles = Object.fromEntries(GPUS.map((gpu) => [gpu, hardwareNamed(gpu).name]));
  fs.mkdirSync(path.dirname(o.out), { recursive: true });
  fs.writeFileSync(o.out, `${JSON.stringify({ ...bench, ...machine, asked, gpus: titles, rows }, null, 2)}\n`);
});
