/**
 * How late the event loop's timers come while a model is loaded and trained in the same process, beside an idle loop:
 * what a service that fine-tunes in its own process would notice.
 *
 *   node bench/event-loop.mjs [--seconds 10] [--models tiny-opt,opt125m] [--offload host|device] [--threads 2]
 *
 * The training loop is the public one (`Trainer.fit`): reading and encoding examples, two steps in flight. tiny-opt
 * trains on the review sentences that come with the package, the OPT-125M shape on random tokens (8 x 128). Writes
 * bench/results/event-loop-cpu.json (--out).
 */
import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { loadModel, Trainer } from "../dist/esm/index.js";
import { loadNative } from "zo2/native";
import { sessionOf } from "./lib/session.mjs";
import { RESOLUTION_MS, watchLoop } from "./lib/loop-delay.mjs";
import { describeCommit, describeMachine, machineSeconds, processSeconds } from "./lib/machine.mjs";
import { OPT_125M } from "./lib/opt-shape.mjs";
import { oneOf, readOptions, runMain } from "./lib/options.mjs";
import { foreignCores } from "./lib/program.mjs";
import { idsFor } from "./lib/tokens.mjs";
import { DEFAULT_CACHE, ensureModel } from "./peer/make-model.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const DEFAULTS = {
  ...OPT_125M,
  seconds: 10,
  models: "tiny-opt,opt125m",
  offload: "host",
  threads: 2,
  batch: 8,
  seq: 128,
  cache: DEFAULT_CACHE,
  out: path.join(root, "bench", "results", "event-loop-cpu.json"),
};
/** Fewer say nothing about a loop. */
const LEAST_STEPS = 3;
const MANY_STEPS = 1_000_000;
const EXAMPLES = 256;

const CASES = {
  "tiny-opt": () => ({
    model: path.join(root, "docs", "demo", "tiny-opt"),
    wire: "fp32",
    data: path.join(root, "docs", "demo", "reviews", "train.jsonl"),
    trainer: {
      method: { name: "mezo-sgd", learningRate: 1e-4 },
      batchSize: 32,
      steps: MANY_STEPS,
      maxLength: 128,
      truncation: "left",
      template: { prompt: "{text} How is it?", choices: [" terrible", " great"] },
    },
  }),
  opt125m: (o) => ({
    model: ensureModel({ cache: o.cache, ...Object.fromEntries(Object.keys(OPT_125M).map((name) => [name, o[name]])) }),
    wire: "stored",
    data: idsFor({ seed: 0, step: 0, batch: EXAMPLES, seq: o.seq, vocab: o.vocab }).map((ids) => ({
      ids: Array.from(ids),
    })),
    trainer: { method: { name: "mezo-sgd", learningRate: 1e-7 }, batchSize: o.batch, steps: MANY_STEPS },
  }),
};

/** Watches one piece of work, with the time it took and the cores that other processes used. */
async function phase(work) {
  const clock = () => ({ at: performance.now() / 1000, machine: machineSeconds(), own: processSeconds(process.pid) });
  const before = clock();
  const { value, delay } = await watchLoop(work);
  const after = clock();
  return { value, row: { seconds: after.at - before.at, foreign: foreignCores(before, after), delay } };
}

/** Watches the first step by itself: it opens the data, plans memory and meets cold code. */
async function watchTraining(seconds, model, { data, trainer }) {
  const steps = new Trainer(model, trainer).fit(data);
  try {
    const first = await phase(() => steps.next());
    const end = performance.now() + seconds * 1000;
    const rest = await phase(async () => {
      let taken = 0;
      while (taken < LEAST_STEPS || performance.now() < end) {
        await steps.next();
        taken++;
      }
      return taken;
    });
    return { first: first.row, train: { ...rest.row, steps: rest.value } };
  } finally {
    await steps.return();
  }
}

async function measure(name, o) {
  const prepared = CASES[name](o);
  const load = await phase(() =>
    loadModel(prepared.model, { device: "cpu", threads: o.threads, offload: { to: o.offload, wire: prepared.wire } }),
  );
  const model = load.value;
  try {
    const idle = await phase(() => sleep(o.seconds * 1000));
    const { first, train } = await watchTraining(o.seconds, model, prepared);
    return {
      model: name,
      phases: { idle: idle.row, load: load.row, "first step": first, train },
      waits: sessionOf(model).waits,
    };
  } finally {
    await model.dispose();
  }
}

await runMain("event-loop", async () => {
  const o = readOptions(process.argv.slice(2), DEFAULTS);
  oneOf(o, "offload", ["host", "device"]);
  const names = o.models.split(",");
  for (const name of names)
    if (!Object.hasOwn(CASES, name))
      throw new Error(`--models has ${JSON.stringify(name)}; there are ${Object.keys(CASES).join(", ")}`);
  const rows = [];
  for (const name of names) {
    const row = await measure(name, o);
    rows.push(row);
    for (const [phaseName, { seconds, delay }] of Object.entries(row.phases)) {
      const ms = (value) => `${value.toFixed(2)} ms`;
      console.log(
        `${name} ${phaseName}: ${seconds.toFixed(1)} s, timers late by ${ms(delay.p50)} (p50), ` +
          `${ms(delay.p99)} (p99), ${ms(delay.max)} (most)`,
      );
    }
    console.log(`${name}: ${row.phases.train.steps} steps, ${row.waits} waits on the JavaScript thread`);
  }
  const result = {
    bench: "event-loop",
    date: new Date().toISOString(),
    ...describeCommit(root),
    device: describeMachine(),
    node: process.version,
    build: loadNative().build,
    threads: o.threads,
    offload: o.offload,
    resolutionMs: RESOLUTION_MS,
    delayUnit: "ms beyond the tick's interval",
    rows,
  };
  fs.mkdirSync(path.dirname(o.out), { recursive: true });
  fs.writeFileSync(o.out, `${JSON.stringify(result, null, 2)}\n`);
  console.log(`written: ${o.out}`);
});
