/**
 * What more probes in one visit cost and save: steps of methods along 1 to 16 directions, with weights that are
 * resident, that stream from host memory and that stream from a file, by turns in one process on the device of this
 * machine. A step moves the weights once, whatever the number of its forward passes.
 *
 *   node bench/probes.mjs [--disk FOLDER] [--model DIR] [--shapes 1x16,16x16] [--rounds 3] [--threads 2]
 *
 * Without --model an OPT shape with synthetic weights is taken (--layers, --hidden, --vocab). The file is read and
 * written past the page cache where its file system can. What is timed are steps behind another one in a chain, two in
 * flight as in training; a chain takes as many as last about --seconds. Bytes are those of one traced step.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { noiseOf } from "../dist/esm/config/methods/index.js";
import { nativeBuild } from "../dist/esm/device/open.js";
import { loadModel } from "../dist/esm/index.js";
import { loadedOf } from "../dist/esm/loaded.js";
import { batchOfShape, takeSteps } from "../dist/esm/measure/steps.js";
import { deviceBytes } from "../dist/esm/memory/plan.js";
import { stepOf } from "../dist/esm/method/index.js";
import { describeCommit, describeMachine, machineSeconds, processSeconds } from "./lib/machine.mjs";
import { movedBytes } from "./lib/moved.mjs";
import { readOptions, readShapes, runMain } from "./lib/options.mjs";
import { foreignCores } from "./lib/program.mjs";
import { fromDirections, NEAR } from "./lib/repaid.mjs";
import { compareSpeed, median } from "./lib/summary.mjs";
import { openSynthetic, recordOpt } from "./lib/synthetic.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const DEFAULTS = {
  ...{ model: null, layers: 4, hidden: 768, vocab: 16384, shapes: "1x16,16x16" },
  ...{ rounds: 3, seconds: 1, threads: 2, disk: os.tmpdir() },
  out: path.join(root, "bench", "results", "probes-cpu.json"),
};
/** The first is what the others are compared with. */
const TIERS = ["device", "host", "disk"];
const CASES = [
  ...[1, 2, 4, 8].map((directions) => ({ name: "mezo-sgd", directions })),
  ...[2, 4, 8, 16].map((directions) => ({ name: "fzoo", directions })),
  ...[4, 8].map((directions) => ({ name: "es", directions })),
];
const EPS = 1e-3;
/** Weights stay near what they are: what is learned here means nothing. */
const LEARNING_RATE = 1e-9;
const MOST_STEPS = 8;

/** A session whose weights rest in `to`; `next` is the number of its next step. */
async function open(o, to) {
  const { threads, disk: diskPath } = o;
  if (o.model !== null) {
    const offload = { to, wire: "fp32", diskPath };
    const model = await loadModel(o.model, { device: "cpu", threads, dtype: "fp32", offload });
    const { session, definition } = loadedOf(model);
    return { to, session, definition, next: 0, dispose: () => model.dispose() };
  }
  const { layers, hidden, vocab } = o;
  const shape = { layers, hidden, ffn: 4 * hidden, heads: hidden / 64, vocab, maxpos: 2048 };
  const settings = { device: "cpu", threads, wire: "fp32", to, diskPath, slots: 3, overlap: true };
  const session = await openSynthetic(shape, settings);
  return { to, session, definition: recordOpt(shape).definition, next: 0, dispose: () => session.dispose() };
}

/** Seconds of `count` steps, from the end of the one before each. */
async function take(held, batch, { method, noise }, count) {
  const settings = { method, noise, eps: EPS, learningRate: LEARNING_RATE, first: held.next, count };
  held.next += count;
  const seconds = await takeSteps(held.session, batch, settings);
  await held.session.settle();
  return seconds;
}

/** Makes the plan, and says what the step moved and how long it took. */
async function traced(held, batch, step) {
  const trace = held.session.trace();
  const [seconds] = await take(held, batch, step, 1);
  held.session.endTrace();
  return { seconds, bytes: movedBytes(trace.take()), deviceBytes: deviceBytes(held.session.plan) };
}

const clock = () => ({
  ...{ at: performance.now() / 1e3, machine: machineSeconds(), own: processSeconds(process.pid) },
});

async function measure(o, sessions, { name, directions }, { batch: sequences, seq: length }) {
  const method = stepOf({ name, directions, eps: EPS, fitness: "zscore", antithetic: false });
  const step = { method, noise: noiseOf({ name }) };
  const { head, vocabSize } = sessions[0].definition;
  const batch = batchOfShape(head, vocabSize, { microBatches: [sequences], length });
  const first = [];
  for (const held of sessions) first.push(await traced(held, batch, step));
  const count = Math.max(1, Math.min(MOST_STEPS, Math.round(o.seconds / first[0].seconds)));
  const rounds = new Map(sessions.map((held) => [held, []]));
  for (let r = 0; r < o.rounds; r++) {
    for (const held of r % 2 === 0 ? sessions : sessions.toReversed()) {
      const before = clock();
      const [, ...seconds] = await take(held, batch, step, 1 + count);
      rounds.get(held).push({ t: median(seconds), foreign: foreignCores(before, clock()) });
    }
  }
  const passes = method.probes.length;
  return sessions.map((held, s) => {
    const own = rounds.get(held);
    const { ratio, least, most, quiet } = compareSpeed(rounds.get(sessions[0]), own);
    const seconds = median(own.map(({ t }) => t));
    const { bytes, deviceBytes: planned } = first[s];
    return {
      ...{ method: name, directions, passes, noise: step.noise, batch: sequences, seq: length, to: held.to },
      ...{ seconds, secondsPerPass: seconds / passes, ratio, least, most, quiet, steps: count, rounds: own },
      ...{ bytes, deviceBytes: planned },
    };
  });
}

/**
 * Of each batch, method and residence that streams: from how many directions on a step is as fast as a resident one.
 */
function repaidOf(rows, shapes) {
  return shapes.flatMap(({ batch, seq }) =>
    [...new Set(CASES.map(({ name }) => name))].flatMap((method) =>
      TIERS.slice(1).map((to) => {
        const own = rows.filter((r) => r.batch === batch && r.seq === seq && r.method === method && r.to === to);
        return { batch, seq, method, to, from: fromDirections(own, ({ ratio }) => ratio <= 1 + NEAR) };
      }),
    ),
  );
}

await runMain("probes", async () => {
  const o = readOptions(process.argv.slice(2), DEFAULTS);
  const shapes = readShapes(o.shapes);
  const sessions = [];
  const rows = [];
  try {
    for (const to of TIERS) sessions.push(await open(o, to));
    const [{ session, definition }] = sessions;
    const warm = { method: stepOf({ name: "mezo-sgd", eps: EPS, directions: 1 }), noise: "gaussian" };
    const one = batchOfShape(definition.head, definition.vocabSize, { microBatches: [1], length: 8 });
    // The first of all has no update, and nothing to store.
    for (const held of sessions) await take(held, one, warm, 1);
    for (const shape of shapes)
      for (const asked of CASES) {
        const made = await measure(o, sessions, asked, shape);
        rows.push(...made);
        const ratios = made.slice(1).map(({ to, ratio }) => `${to} x ${ratio.toFixed(2)}`);
        const { seconds, secondsPerPass } = made[0];
        const resident = `${seconds.toFixed(3)} s, ${secondsPerPass.toFixed(4)} s a pass`;
        console.log(`${shape.name} ${asked.name} ${asked.directions}:`.padEnd(22), resident, ...ratios);
      }
    const { units, recording } = session;
    const about = { bench: "probes", date: new Date().toISOString(), node: process.version, ...describeCommit(root) };
    const runs = { kind: session.info().kind, name: session.info().name };
    const machine = { build: nativeBuild().build, device: describeMachine(), threads: o.threads, runs };
    const parameters = recording.parameters.reduce((sum, { count }) => sum + count, 0);
    const model = o.model === null ? `OPT ${o.layers} x ${o.hidden}` : path.basename(o.model);
    const asked = { model, parameters, units: units.length, rounds: o.rounds, shapes: shapes.map(({ name }) => name) };
    const result = { ...about, ...machine, asked, near: NEAR, repaid: repaidOf(rows, shapes), rows };
    fs.mkdirSync(path.dirname(o.out), { recursive: true });
    fs.writeFileSync(o.out, `${JSON.stringify(result, null, 2)}\n`);
  } finally {
    for (const held of sessions) await held.dispose();
  }
});
