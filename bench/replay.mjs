/**
 * How fast a run's journal becomes its weights again, for OPT-125M shapes on the CPU: steps a second of a replay,
 * beside what the noise alone would take; the time to load the base, to read a snapshot instead, and to switch from one
 * run of the base to another.
 *
 *   node bench/replay.mjs --noise-program build-bench/bench/noise [--steps 32] [--rounds 3] [--switches 100,1000]
 *
 * The program is bench/native/noise.cc, which says how it is built; without it the limit is left out. Ways alternate
 * round by round. Writes bench/results/replay-cpu.json (--out); `node scripts/bench-tables.mjs` makes the table of
 * docs/journal.md from it.
 */
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { loadModel } from "../dist/esm/index.js";
import { readRun } from "../dist/esm/journal/read-run.js";
import { loadedOf } from "../dist/esm/loaded.js";
import { replayRun } from "../dist/esm/run/replay.js";
import { readBase } from "../dist/esm/run/read-weights.js";
import { readNewestSnapshot, writeSnapshot } from "../dist/esm/run/snapshots.js";
import { loadNative } from "zo2/native";
import { timed, writeRun } from "./lib/kept-runs.mjs";
import { describeCommit, describeMachine, machineSeconds, processSeconds } from "./lib/machine.mjs";
import { OPT_125M } from "./lib/opt-shape.mjs";
import { readOptions, runMain } from "./lib/options.mjs";
import { foreignCores, orderOf } from "./lib/program.mjs";
import { median, preferQuiet } from "./lib/summary.mjs";
import { DEFAULT_CACHE, ensureModel } from "./peer/make-model.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const DEFAULTS = {
  ...OPT_125M,
  ...{ steps: 32, rounds: 3, switches: "100,1000", threads: 2, "noise-program": null, cache: DEFAULT_CACHE },
  out: path.join(root, "bench", "results", "replay-cpu.json"),
};
const WEIGHTS = {
  fp32: { offload: { to: "host", wire: "fp32" } },
  "fp16, stochastic": { offload: { to: "host", wire: "fp16" }, rounding: "stochastic" },
};
const NOISES = ["gaussian", "rademacher"];
const SECONDS_OF_NOISE = 2;

const clock = () => ({
  at: performance.now() / 1000,
  machine: machineSeconds(),
  own: processSeconds(process.pid),
});

/** As `timed`, with the cores that others used meanwhile. */
async function watched(work) {
  const before = clock();
  const { seconds } = await timed(work);
  return { t: seconds, foreign: foreignCores(before, clock()) };
}

function summary(samples) {
  const { used, quiet } = preferQuiet(samples);
  return { seconds: median(used.map(({ t }) => t)), quiet, all: samples };
}

/** Elements a second of the generator alone; null without the program. */
function drawNoise(program, threads) {
  if (program === null) return null;
  return JSON.parse(execFileSync(program, [String(threads), String(SECONDS_OF_NOISE)], { encoding: "utf8" }));
}

/** One way in which weights rest: loading, replays with both noises, a snapshot. */
async function measureWeights(name, folder, o, scratch) {
  const options = { device: "cpu", threads: o.threads, ...WEIGHTS[name] };
  const loads = [];
  const dir = (noise) => path.join(scratch, `${name.replace(/\W+/g, "-")}-${noise}`);
  const model = await loadModel(folder, options);
  const loaded = loadedOf(model);
  const { session } = loaded;
  const parameters = model.parameterCount;
  const works = [];
  try {
    for (const noise of NOISES) {
      const run = await readRun(await writeRun(dir(noise), model, { noise, steps: o.steps }));
      works.push({ what: noise, samples: [], work: () => replayRun(loaded, run) });
    }
    const run = await readRun(dir("gaussian"));
    await replayRun(loaded, run);
    const written = await timed(() => writeSnapshot(dir("gaussian"), loaded, run, o.steps));
    const snapshot = async () => {
      const o = { least: 0, onWarning: ({ message }) => console.log(message) };
      const { steps } = await readNewestSnapshot(dir("gaussian"), loaded, run, o);
      if (steps === 0) throw new Error("the snapshot was not read");
    };
    works.push({ what: "snapshot", samples: [], work: snapshot });
    // Round 0 is warm-up: files are in the system's cache behind it, for loading too.
    for (let round = 0; round <= o.rounds; round++) {
      for (const i of orderOf(round, works.length)) {
        const base = await watched(() => readBase(loaded));
        const sample = await watched(works[i].work);
        await session.settle();
        if (round === 0) continue;
        works[i].samples.push(sample);
        loads.push(base);
      }
    }
    const replays = works.filter(({ what }) => NOISES.includes(what));
    return {
      ...{ weights: name, parameters, steps: o.steps, base: summary(loads), written: written.seconds },
      snapshot: summary(works.at(-1).samples),
      replays: replays.map(({ what, samples }) => {
        const { seconds, ...more } = summary(samples);
        const perSecond = o.steps / seconds;
        return { noise: what, stepsPerSecond: perSecond, elementsPerSecond: perSecond * parameters, ...more };
      }),
    };
  } finally {
    await model.dispose();
  }
}

/** Seconds until the weights of another run of the base are there. */
async function measureSwitches(folder, o, scratch) {
  const model = await loadModel(folder, { device: "cpu", threads: o.threads, ...WEIGHTS["fp16, stochastic"] });
  try {
    const rows = [];
    for (const steps of o.switches
      .split(",")
      .filter((one) => one !== "")
      .map(Number)) {
      const run = await writeRun(path.join(scratch, `switch-${steps}`), model, { noise: "gaussian", steps });
      await model.withRuns([], () => undefined);
      const { t, foreign } = await watched(() => model.withRuns([run], () => undefined));
      // Now the base has to be read again first.
      const other = await writeRun(path.join(scratch, `other-${steps}`), model, { noise: "gaussian", steps, seed: 9 });
      const again = await watched(() => model.withRuns([other], () => undefined));
      rows.push({ steps, fromBase: t, fromAnother: again.t, foreign: Math.max(foreign ?? 0, again.foreign ?? 0) });
      console.log(
        `switch to a run of ${steps} steps: ${t.toFixed(1)} s from the base, ${again.t.toFixed(1)} s from another`,
      );
    }
    return rows;
  } finally {
    await model.dispose();
  }
}

await runMain("replay", async () => {
  const o = readOptions(process.argv.slice(2), DEFAULTS);
  const folder = ensureModel(o);
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-replay-"));
  try {
    const noise = [drawNoise(o["noise-program"], o.threads)];
    const rows = [];
    for (const name of Object.keys(WEIGHTS)) {
      const row = await measureWeights(name, folder, o, scratch);
      rows.push(row);
      noise.push(drawNoise(o["noise-program"], o.threads));
      for (const { noise: kind, stepsPerSecond } of row.replays)
        console.log(`${name}, ${kind}: ${stepsPerSecond.toFixed(2)} steps/s`);
      console.log(`${name}: base ${row.base.seconds.toFixed(2)} s, snapshot ${row.snapshot.seconds.toFixed(2)} s`);
    }
    const switches = await measureSwitches(folder, o, scratch);
    const limit = (kind) => (noise[0] === null ? null : median(noise.map((one) => one[kind])));
    const result = {
      ...{ bench: "replay", date: new Date().toISOString(), ...describeCommit(root), device: describeMachine() },
      ...{ node: process.version, build: loadNative().build, threads: o.threads, rounds: o.rounds },
      noise: { gaussian: limit("gaussian"), rademacher: limit("rademacher"), all: noise },
      ...{ rows, switches },
    };
    fs.writeFileSync(o.out, `${JSON.stringify(result, null, 2)}\n`);
    console.log(`written: ${o.out}`);
  } finally {
    fs.rmSync(scratch, { recursive: true });
  }
});
