/**
 * What MeZO's own order costs: weights perturbed where they are (+eps, -2 eps, +eps with the update) against W+ and W-
 * beside them in one pass, as zo2 makes them. One unit of the shape of a decoder layer, by commands of the native
 * layer: three `prepare` that each store an update, or one that stores an update and fills two scratches. The forward
 * passes between them are left out, for they are the same.
 *
 *   node bench/in-place.mjs [--hidden 768 --ffn 3072] [--rounds 7] [--steps 100] [--eps 1e-3] [--device cpu]
 *
 * Time: `--rounds` visits of each kind, by turns. Damage: `--steps` visits with a learning rate of 0, after which every
 * weight should be what it was.
 */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { loadNative } from "zo2/native";
import { align, BYTES_OF, FLOAT_TYPES } from "../dist/esm/base/dtype.js";
import { COEFFICIENT_BYTES, STICKY_BYTES } from "../dist/esm/contract/constants.js";
import { nativeBuild } from "../dist/esm/device/open.js";
import { CommandWords } from "../dist/esm/device/words.js";
import { FLOAT_DTYPE, WIRE_DTYPE } from "../dist/esm/memory/operands.js";
import { describeCommit, describeMachine } from "./lib/machine.mjs";
import { readOptions, runMain } from "./lib/options.mjs";
import { median } from "./lib/summary.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const DEFAULTS = {
  ...{ hidden: 768, ffn: 3072, rounds: 7, steps: 100, eps: 1e-3, device: "cpu", threads: 2 },
  out: path.join(root, "bench", "results", "in-place-cpu.json"),
};
const GAUSSIAN = 0;
const NEAREST = 0;
const SEED = 7n;
/** Standard deviation of weights, as models of this kind begin. */
const SPREAD = 0.02;

/** Matrices of a decoder layer: query, key, value and output; both of the feed-forward network. */
const shapesOf = ({ hidden, ffn }) => [
  ...Array.from({ length: 4 }, () => [hidden, hidden]),
  [ffn, hidden],
  [hidden, ffn],
];

/** Numbers of a normal distribution, the same each time. */
function normals(count) {
  let state = 12345;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  return Float32Array.from(
    { length: count },
    () => SPREAD * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

/** A unit on a device, whose weights and scratches are of one dtype, and the two ways to visit it. */
class Unit {
  static async create(device, type, shapes) {
    const unit = new Unit();
    const words = [];
    let [count, bytes] = [0, 0];
    for (const [rows, columns] of shapes) {
      words.push(count, rows * columns, bytes, bytes, 0, WIRE_DTYPE[type], FLOAT_DTYPE[type], 0, 0, 0);
      count += rows * columns;
      bytes += align(rows * columns * BYTES_OF[type]);
    }
    Object.assign(unit, { device, type, count, bytes, stream: device.createStream("compute") });
    unit.layout = device.createLayout(Float64Array.from(words));
    for (const name of ["wire", "plus", "minus"]) unit[name] = await device.createBuffer("device", bytes);
    unit.coefficient = await device.createBuffer("device", COEFFICIENT_BYTES);
    unit.sticky = await device.createBuffer("device", STICKY_BYTES);
    unit.host = await device.createBuffer("host", bytes);
    unit.done = device.createEvent();
    await unit.begin();
    return unit;
  }

  /** Runs the commands that `add` adds, in their order. */
  async run(add) {
    const words = new CommandWords();
    add(words);
    words.record(this.stream, this.done);
    this.device.submit(words.list, words.handles);
    await this.done.done();
  }

  /** Weights of a model that was not trained; the coefficient is 1, so that learning rates are factors of z. */
  async begin() {
    const values = normals(this.count);
    await this.device.convert(
      new Uint8Array(values.buffer),
      FLOAT_DTYPE.fp32,
      this.host,
      0,
      FLOAT_DTYPE[this.type],
      this.count,
    );
    await this.run((words) => {
      words.copy(this.stream, { buffer: this.wire, offset: 0 }, { buffer: this.host, offset: 0 }, this.bytes);
      words.fill(this.stream, { buffer: this.sticky, offset: 0 }, 0, STICKY_BYTES);
    });
    const one = new DataView(new ArrayBuffer(COEFFICIENT_BYTES));
    one.setFloat32(0, 1, true);
    one.setUint32(4, 1, true);
    const twin = await this.device.createBuffer("host", COEFFICIENT_BYTES);
    twin.write(0, new Uint8Array(one.buffer));
    await this.run((words) =>
      words.copy(this.stream, { buffer: this.coefficient, offset: 0 }, { buffer: twin, offset: 0 }, COEFFICIENT_BYTES),
    );
    twin.dispose();
  }

  /** w -= factor z, stored, and W+ and W- into the scratches that are given. */
  prepare(words, step, factor, sides) {
    const noise = { noise: GAUSSIAN, rank: 0, interval: 0 };
    const update = { ...noise, seed: SEED, step, directions: 1, weightDecay: 0, z: null, zStride: 0 };
    words.prepare(this.stream, {
      ...{
        layout: this.layout,
        wire: { buffer: this.wire, offset: 0 },
        rows: null,
        rowCount: 0,
        z: null,
        direction: 0,
      },
      ...{ ...noise, seed: SEED, step: step + 1, store: true, rounding: NEAREST },
      ...{ sticky: { buffer: this.sticky, offset: 0 }, sides },
      updates: [{ ...update, learningRate: factor, coefficients: { buffer: this.coefficient, offset: 0 } }],
    });
  }

  /** A visit as zo2 makes it: the update of the step before, and both sides of this one. */
  outOfPlace(step, eps, learned) {
    const side = (buffer, sign) => ({ scratch: { buffer, offset: 0 }, eps: sign * eps });
    return this.run((words) => this.prepare(words, step, learned, [side(this.plus, 1), side(this.minus, -1)]));
  }

  /** A visit as MeZO makes it; `learned`: learning rate times projected gradient. */
  inPlace(step, eps, learned) {
    return this.run((words) => {
      for (const factor of [-eps, 2 * eps, -eps + learned]) this.prepare(words, step, factor, []);
    });
  }

  /** Weights as fp32. */
  async values() {
    await this.run((words) =>
      words.copy(this.stream, { buffer: this.host, offset: 0 }, { buffer: this.wire, offset: 0 }, this.bytes),
    );
    const raw = new Uint8Array(this.count * BYTES_OF[this.type]);
    this.host.read(0, raw);
    const wide = await this.device.createBuffer("host", 4 * this.count);
    await this.device.convert(raw, FLOAT_DTYPE[this.type], wide, 0, FLOAT_DTYPE.fp32, this.count);
    const values = new Float32Array(this.count);
    wide.read(0, new Uint8Array(values.buffer));
    wide.dispose();
    return values;
  }
}

const rootMeanSquare = (values) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length);

/** How far weights are from where they began. */
function damageOf(before, after) {
  const moved = after.map((value, i) => value - before[i]);
  const most = moved.reduce((largest, v) => Math.max(largest, Math.abs(v)), 0);
  return {
    changed: moved.reduce((count, v) => count + (v === 0 ? 0 : 1), 0) / moved.length,
    drift: rootMeanSquare(moved) / rootMeanSquare(before),
    most,
  };
}

async function measure(device, type, o) {
  const seconds = { outOfPlace: [], inPlace: [] };
  const timed = await Unit.create(device, type, shapesOf(o));
  // The first of each is warm-up.
  for (let round = 0; round <= o.rounds; round++) {
    const ways = round % 2 === 0 ? ["outOfPlace", "inPlace"] : ["inPlace", "outOfPlace"];
    for (const way of ways) {
      const begin = performance.now();
      await timed[way](round, o.eps, 1e-7);
      if (round > 0) seconds[way].push((performance.now() - begin) / 1e3);
    }
  }
  const damage = {};
  for (const way of ["outOfPlace", "inPlace"]) {
    // Weights do not know of each other: one matrix is a sample of them.
    const sample = await Unit.create(device, type, shapesOf(o).slice(0, 1));
    const before = await sample.values();
    for (let step = 0; step < o.steps; step++) await sample[way](step, o.eps, 0);
    damage[way] = damageOf(before, await sample.values());
  }
  const ratios = seconds.inPlace.map((s, i) => s / seconds.outOfPlace[i]);
  return {
    ...{ type, weights: timed.count, wireBytes: timed.bytes },
    ...{ outOfPlace: { seconds: median(seconds.outOfPlace), scratchBytes: 2 * timed.bytes, ...damage.outOfPlace } },
    inPlace: { seconds: median(seconds.inPlace), scratchBytes: 0, ...damage.inPlace },
    ratio: { median: median(ratios), least: Math.min(...ratios), most: Math.max(...ratios) },
  };
}

await runMain("in-place", async () => {
  const o = readOptions(process.argv.slice(2), DEFAULTS);
  const device = await loadNative().openDevice(o.device, { threads: o.threads });
  try {
    const rows = [];
    for (const type of FLOAT_TYPES) rows.push(await measure(device, type, o));
    for (const { type, inPlace, outOfPlace, ratio } of rows)
      console.log(
        `${type}: in place ${ratio.median.toFixed(2)} of the time,`,
        `${(100 * inPlace.changed).toFixed(1)} % of weights changed, drift ${inPlace.drift.toExponential(1)};`,
        `out of place ${(100 * outOfPlace.changed).toFixed(1)} %`,
      );
    const about = { bench: "in-place", date: new Date().toISOString(), node: process.version, ...describeCommit(root) };
    const { kind, name } = device.info();
    const machine = { build: nativeBuild().build, device: describeMachine(), threads: o.threads, runs: { kind, name } };
    const asked = { hidden: o.hidden, ffn: o.ffn, rounds: o.rounds, steps: o.steps, eps: o.eps };
    fs.mkdirSync(path.dirname(o.out), { recursive: true });
    fs.writeFileSync(o.out, `${JSON.stringify({ ...about, ...machine, asked, rows }, null, 2)}\n`);
  } finally {
    await device.close();
  }
});
