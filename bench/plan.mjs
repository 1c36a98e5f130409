/**
 * What a plan says before anything runs, for models of any size, and what planning a pass costs in JavaScript:
 *
 *   device memory of a MeZO step by model size, resident and streamed;
 *   bytes that a step moves when all is trained, and when all but the norms is frozen;
 *   the time from a step's request until its commands are handed over, for OPT-175B in units of 256 MiB.
 *
 *   node bench/plan.mjs [--tokens 2048] [--passes 200] [--out bench/results/plan.json]
 *
 * Sizes are exact and do not depend on the machine. Nothing is computed: the device of the third part is idle.
 */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { packBatch } from "../dist/esm/data/index.js";
import { Session } from "../dist/esm/device/session.js";
import { deviceBytes, hostBytes } from "../dist/esm/memory/plan.js";
import { cutUnits } from "../dist/esm/memory/units.js";
import { METHODS } from "../dist/esm/method/index.js";
import { idleDevice } from "./lib/idle-device.mjs";
import { describeCommit, describeMachine } from "./lib/machine.mjs";
import { OPT_MODELS } from "./lib/opt-shape.mjs";
import { readOptions, runMain } from "./lib/options.mjs";
import { median } from "./lib/summary.mjs";
import { recordOpt } from "./lib/synthetic.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const DEFAULTS = { tokens: 2048, passes: 200, out: path.join(root, "bench", "results", "plan.json") };
const SMALL_UNIT = 256 * 2 ** 20;
/** Of the norms' step: small enough that no unit holds both a norm and a matrix. */
const SMALLEST_UNIT = 2 ** 20;
const MEZO = METHODS["mezo-sgd"];

function batchOf(tokens) {
  const ids = Int32Array.from({ length: tokens }, (_, i) => i % 50000);
  return [packBatch([{ kind: "tokens", ids, labels: ids }])];
}

/** A session in fp16 on a device that does nothing. `onPass` sees the commands of every pass. */
function sessionOf({ definition, recording }, { to = "host", unitBytes, onPass } = {}) {
  const units = cutUnits(recording, { wire: "fp16", compute: "fp16", unitBytes });
  return Session.create(idleDevice(), recording, units, {
    tierOf: () => to,
    slots: 3,
    overlap: true,
    prepareAhead: "auto",
    writeBackEvery: 1,
    wire: "fp16",
    compute: "fp16",
    rounding: "nearest",
    positionRow: definition.positionRow,
    poison: false,
    onPass,
  });
}

function requestOf(step) {
  const settings = { seed: 1n, step, noise: "gaussian", eps: 1e-3, learningRate: 1e-6, weightDecay: 0 };
  return { ...settings, ...MEZO.step({ eps: settings.eps, directions: 1 }) };
}

async function memoryOf(name, shape, batch) {
  const model = recordOpt(shape);
  const { probes } = MEZO.step({ eps: 1, directions: 1 });
  const planned = async (o) => {
    const session = await sessionOf(model, o);
    const plan = session.planForBatch(batch, probes);
    return { units: plan.units.length, deviceBytes: deviceBytes(plan), hostBytes: hostBytes(plan) };
  };
  return {
    model: name,
    parameters: model.recording.parameters.reduce((sum, { count }) => sum + count, 0),
    resident: await planned({ to: "device" }),
    streamed: await planned({}),
    small: await planned({ unitBytes: SMALL_UNIT }),
  };
}

/** Bytes to and from the device, and weights that get noise, in the second of two steps: the first has no update. */
async function movedBy(shape, batch, trains) {
  const model = recordOpt(shape);
  let moved = null;
  let units = [];
  const onPass = (_pass, commands) => {
    moved = { up: 0, down: 0, perturbed: 0 };
    for (const { work } of commands) {
      if (work.kind === "upload") moved.up += units[work.unit].wireBytes;
      if (work.kind === "offload") moved.down += units[work.unit].wireBytes;
      if (work.kind === "prepare" && work.direction !== null)
        moved.perturbed += units[work.unit].tensors.reduce((sum, { count }) => sum + count, 0);
    }
  };
  const session = await sessionOf(model, { unitBytes: SMALLEST_UNIT, onPass });
  units = session.units;
  await session.freeze(new Set(model.recording.parameters.filter((parameter) => !trains(parameter.name))));
  for (const step of [0, 1]) {
    await (await session.step(batch, requestOf(step))).result.catch(() => undefined);
    session.commit();
  }
  return moved;
}

/** Milliseconds from a step's request until its commands are handed over, for every pass. */
async function planningOf(shape, batch, passes) {
  let commands = 0;
  const session = await sessionOf(recordOpt(shape), {
    unitBytes: SMALL_UNIT,
    onPass: (_pass, list) => {
      commands = list.length;
    },
  });
  const milliseconds = [];
  for (let step = 0; step < passes; step++) {
    const begin = performance.now();
    const { result } = await session.step(batch, requestOf(step));
    milliseconds.push(performance.now() - begin);
    session.commit();
    await result.catch(() => undefined);
  }
  return { units: session.units.length, commands, milliseconds };
}

await runMain("plan", async () => {
  const o = readOptions(process.argv.slice(2), DEFAULTS);
  const batch = batchOf(o.tokens);
  const memory = [];
  for (const [name, shape] of Object.entries(OPT_MODELS)) memory.push(await memoryOf(name, shape, batch));
  const norm = /layer_norm/;
  const moved = {
    model: "OPT-13B",
    unitBytes: SMALLEST_UNIT,
    all: await movedBy(OPT_MODELS["OPT-13B"], batch, () => true),
    norms: await movedBy(OPT_MODELS["OPT-13B"], batch, (name) => norm.test(name)),
  };
  const { milliseconds, ...planned } = await planningOf(OPT_MODELS["OPT-175B"], batch, o.passes);
  // What comes first meets cold code and plans memory.
  const warm = milliseconds.slice(Math.floor(o.passes / 4));
  const planning = {
    ...{ model: "OPT-175B", unitBytes: SMALL_UNIT, ...planned, passes: warm.length },
    ...{ median: median(warm), least: Math.min(...warm), most: Math.max(...warm), first: milliseconds[0] },
  };
  const about = { bench: "plan", date: new Date().toISOString(), node: process.version, ...describeCommit(root) };
  const result = { ...about, device: describeMachine(), tokens: o.tokens, memory, moved, planning };
  fs.mkdirSync(path.dirname(o.out), { recursive: true });
  fs.writeFileSync(o.out, `${JSON.stringify(result, null, 2)}\n`);
  console.log(JSON.stringify({ moved, planning }, null, 2));
  for (const row of memory)
    console.log(row.model, ...["resident", "streamed", "small"].map((k) => (row[k].deviceBytes / 2 ** 30).toFixed(2)));
});
