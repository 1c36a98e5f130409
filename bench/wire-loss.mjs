/**
 * What a wire dtype loses of training: the same updates are applied to the attention of one decoder layer of
 * docs/demo/tiny-opt with weights that rest in each dtype, at three learning rates; those in fp32 are what the others
 * are compared with.
 *
 *   node bench/wire-loss.mjs [--steps 10000] [--rates 1e-7,1e-6,1e-5] [--coefficient 10] [--layer 1.self_attn]
 *
 * Coefficients are normal with `--coefficient` as standard deviation. Of an update of one weight, lost: the weight is
 * the same after as before, looked at after no step, half of them and all. Movement: how far weights went along the way
 * that they go in fp32, as a share of it. Drift: how far they ended from there, as a share of the way. Writes
 * bench/results/wire-loss.json (--out), the table of docs/concepts.md.
 */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { loadModel } from "../dist/esm/index.js";
import { describeCommit, describeMachine } from "./lib/machine.mjs";
import { readOptions, runMain } from "./lib/options.mjs";
import { sessionOf } from "./lib/session.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const DEFAULTS = {
  ...{ model: path.join(root, "docs", "demo", "tiny-opt"), steps: 10_000, rates: "1e-7,1e-6,1e-5", coefficient: 10 },
  ...{ layer: "1.self_attn", threads: 2, out: path.join(root, "bench", "results", "wire-loss.json") },
};
const WIRES = ["fp32", "fp16", "bf16", "int8", "e4m3"].flatMap((wire) =>
  wire === "fp32" ? [{ wire, rounding: "nearest" }] : ["nearest", "stochastic"].map((rounding) => ({ wire, rounding })),
);
/** Steps that are taken one by one to see which weights move. */
const LOOKED_AT = 3;

/** Numbers in [0, 1): mulberry32. */
function random(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Updates of `count` steps, the same for every wire (Box-Muller). */
function updatesOf(count, learningRate, deviation) {
  const draw = random(1);
  return Array.from({ length: count }, (_, step) => {
    const normal = Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());
    const update = { seed: 5n, step, noise: "gaussian", learningRate, weightDecay: 0 };
    return { ...update, coefficients: [Math.fround(deviation * normal)] };
  });
}

/** The weights of the layer's matrices before and after, and of some updates the share that changed nothing. */
async function apply(o, way, updates) {
  const { wire, rounding } = way;
  const model = await loadModel(o.model, { device: "cpu", threads: o.threads, rounding, offload: { wire } });
  try {
    const session = sessionOf(model);
    const trained = model.parameters.filter((p) => p.shape.length === 2 && p.name.includes(`layers.${o.layer}.`));
    await session.freeze(new Set(model.parameters.filter((parameter) => !trained.includes(parameter))));
    const read = async () => {
      const values = [];
      for (const { name } of trained) values.push(await model.parameterValues(name));
      return values;
    };
    const begun = await read();
    const looks = new Set([0, Math.floor(updates.length / 2), updates.length - 1]);
    const lost = [];
    for (let step = 0; step < updates.length; ) {
      const next = Math.min(...[...looks].filter((look) => look >= step), updates.length);
      if (next > step) await session.replay(updates.slice(step, next));
      if (next === updates.length) break;
      const before = await read();
      await session.replay(updates.slice(next, next + 1));
      lost.push(shareOfEqual(before, await read()));
      step = next + 1;
    }
    return { begun, ended: await read(), lost: lost.reduce((sum, share) => sum + share, 0) / LOOKED_AT };
  } finally {
    await model.dispose();
  }
}

function shareOfEqual(a, b) {
  const equal = a.reduce((sum, values, i) => sum + values.filter((value, e) => value === b[i][e]).length, 0);
  return equal / a.reduce((sum, { length }) => sum + length, 0);
}

/** Sums over every weight of what `of` makes of the values at its place. */
function sumOver(of, ...all) {
  let sum = 0;
  for (let i = 0; i < all[0].length; i++)
    for (let e = 0; e < all[0][i].length; e++) sum += of(...all.map((values) => values[i][e]));
  return sum;
}

await runMain("wire-loss", async () => {
  const o = readOptions(process.argv.slice(2), DEFAULTS);
  const rows = [];
  for (const rate of o.rates.split(",").map(Number)) {
    const updates = updatesOf(o.steps, rate, o.coefficient);
    const reference = await apply(o, WIRES[0], updates);
    const way = sumOver((a, b) => (a - b) ** 2, reference.ended, reference.begun);
    for (const wire of WIRES) {
      const { begun, ended, lost } = wire === WIRES[0] ? reference : await apply(o, wire, updates);
      const moved = sumOver((w, w0, r, r0) => (w - w0) * (r - r0), ended, begun, reference.ended, reference.begun);
      // From where each began: a wire that cannot hold the checkpoint's values has lost that before training.
      const off = sumOver((w, w0, r, r0) => (w - w0 - (r - r0)) ** 2, ended, begun, reference.ended, reference.begun);
      const row = { rate, ...wire, lost, movement: moved / way, drift: Math.sqrt(off / way) };
      rows.push(row);
      console.log(
        `${rate} ${wire.wire} ${wire.rounding}: ${(100 * lost).toFixed(1)} % lost, movement ` +
          `${(100 * row.movement).toFixed(1)} %, drift ${(100 * row.drift).toFixed(1)} %`,
      );
    }
  }
  const { steps, coefficient, layer } = o;
  const about = { bench: "wire-loss", date: new Date().toISOString(), node: process.version, ...describeCommit(root) };
  const result = { ...about, device: describeMachine(), steps, coefficient, layer, rows };
  fs.writeFileSync(o.out, `${JSON.stringify(result, null, 2)}\n`);
});
