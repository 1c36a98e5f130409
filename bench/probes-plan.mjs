/**
 * What `simulate` says that more probes in one visit cost and save on GPUs: MeZO steps of OPT models along 1 to 16
 * directions, with all weights in host memory, all on disk, and all resident on a device that had the memory. Nothing
 * is computed, and no GPU is asked: bytes are exact, times are predictions from data sheets.
 *
 *   node bench/probes-plan.mjs [--shapes 1x2048,16x32] [--models OPT-1.3B,...] [--gpus rtx-4090,...]
 *
 * Writes bench/results/probes-plan.json (--out), tables of docs/methods.md.
 */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { controlLayout, stepStates } from "../dist/esm/memory/control.js";
import { deviceBytes } from "../dist/esm/memory/plan.js";
import { METHODS } from "../dist/esm/method/index.js";
import { firstThatFits } from "../dist/esm/planner/choose.js";
import { workloadOf } from "../dist/esm/planner/workload.js";
import { HARDWARE_NAMES, hardwareNamed } from "../dist/esm/simulate/hardware.js";
import { busiestLane, simulateStep } from "../dist/esm/simulate/simulate.js";
import { describeCommit, describeMachine } from "./lib/machine.mjs";
import { movedBytes } from "./lib/moved.mjs";
import { OPT_MODELS } from "./lib/opt-shape.mjs";
import { readOptions, readShapes, runMain } from "./lib/options.mjs";
import { fromDirections, NEAR } from "./lib/repaid.mjs";
import { recordOpt } from "./lib/synthetic.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const DEFAULTS = {
  ...{ shapes: "1x2048,16x32", models: "OPT-1.3B,OPT-13B,OPT-30B,OPT-66B", gpus: HARDWARE_NAMES.join(",") },
  out: path.join(root, "bench", "results", "probes-plan.json"),
};
const DIRECTIONS = [1, 2, 4, 8, 16];
const COMPUTES = ["prepare", "compute"];
/** How the weights move, along any number of directions: bytes are comparable then. */
const HELD = { unitBytes: 512 * 2 ** 20, slots: 3, prepareAhead: true, activations: "device" };
/** In which the weights and the products are. */
const TYPE = "fp16";

/** A step whose weights all rest in `to`, as it is predicted. */
function planned({ definition, recording }, hardware, to, directions, { batch, seq }) {
  const { capacity, output, symbols } = workloadOf(definition, { batchSize: batch, maxLength: seq });
  const { probes } = METHODS["mezo-sgd"].step({ eps: 1, directions });
  const { plan } = firstThatFits(recording, {
    ...{ probes, capacity, output, wire: TYPE, compute: TYPE, overlap: true },
    // What all of it would take is asked of a device without a limit.
    deviceMemory: to === "device" ? undefined : hardware.deviceBytes,
    pinned: { tierOf: () => to, ...HELD },
    control: controlLayout(stepStates(1)),
  });
  const { microBatches } = capacity;
  const simulated = simulateStep(plan, recording.inputs, hardware, {
    ...{ noise: "gaussian", symbols, probes, microBatches, overlap: true, spans: true },
  });
  const { seconds, busy, spans } = simulated;
  const passes = probes.length;
  return {
    ...{ directions, passes, seconds, secondsPerPass: seconds / passes, bound: busiestLane(simulated), busy },
    ...{ bytes: movedBytes(spans), units: plan.units.length, microBatches, deviceBytes: deviceBytes(plan) },
  };
}

/** Of one model in one residence on one GPU: its steps by number of directions, and from which on it is what. */
function rowOf(about, resident, steps) {
  const made = steps.map((step, i) => ({ ...step, ratio: step.seconds / resident[i].seconds }));
  const computes = fromDirections(made, ({ bound }) => COMPUTES.includes(bound));
  const repaid = fromDirections(made, ({ ratio }) => ratio <= 1 + NEAR);
  return { ...about, computes, repaid, steps: made };
}

await runMain("probes-plan", () => {
  const o = readOptions(process.argv.slice(2), DEFAULTS);
  const gpus = o.gpus.split(",").map((name) => ({ name, hardware: hardwareNamed(name) }));
  for (const { name, hardware } of gpus)
    if (hardware === undefined) throw new Error(`--gpus has ${name}; there are ${HARDWARE_NAMES.join(", ")}`);
  const shapes = readShapes(o.shapes);
  const about = {
    bench: "probes-plan",
    date: new Date().toISOString(),
    node: process.version,
    ...describeCommit(root),
  };
  const titles = Object.fromEntries(gpus.map(({ name, hardware }) => [name, hardware.name]));
  const sources = [...new Set(gpus.map(({ hardware }) => hardware.source))];
  const asked = { type: TYPE, held: HELD, directions: DIRECTIONS, shapes: shapes.map(({ name }) => name), near: NEAR };
  const rows = [];
  const result = { ...about, device: describeMachine(), ...asked, gpus: titles, sources, rows };
  fs.mkdirSync(path.dirname(o.out), { recursive: true });
  // Behind each model, since larger ones take longer.
  const write = () => fs.writeFileSync(o.out, `${JSON.stringify(result, null, 2)}\n`);
  for (const name of o.models.split(",")) {
    if (!Object.hasOwn(OPT_MODELS, name))
      throw new Error(`--models has ${name}; there are ${Object.keys(OPT_MODELS).join(", ")}`);
    const model = recordOpt(OPT_MODELS[name]);
    for (const shape of shapes)
      for (const { name: gpu, hardware } of gpus) {
        const stepsIn = (to) => DIRECTIONS.map((directions) => planned(model, hardware, to, directions, shape));
        const resident = stepsIn("device");
        for (const to of ["host", "disk"]) {
          const row = rowOf({ model: name, gpu, to, batch: shape.batch, seq: shape.seq }, resident, stepsIn(to));
          rows.push(row);
          const passes = row.steps.map(({ secondsPerPass }) => secondsPerPass.toPrecision(3));
          console.log(name, shape.name, gpu, to, `s a pass ${passes.join(" ")}; computes from ${row.computes}`);
        }
      }
    write();
  }
});
