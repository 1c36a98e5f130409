/**
 * How much of a step's linear work Hopper's matrix product stores in its slow way, by the units that the model is cut
 * into: read from the words of the programs that a session of OPT-175B's shape would run, one sequence of 2048 tokens,
 * all in fp16.
 *
 *   node bench/linear-stores.mjs [--tokens 2048] [--before DIR] [--out bench/results/linear-stores.json]
 *
 * `slow` is the share of the linears' operations in columns that finish_tile stores; `odd`, the share of those whose
 * result has an odd number of columns or begins at one, which is what was slow before products stored 16 bits in whole
 * sectors. --before: another checkout, built, whose cut is shown beside. Sizes are exact and need no device.
 */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { idleDevice } from "./lib/idle-device.mjs";
import { BATCH_COLUMNS, linearStore } from "./lib/linear-store.mjs";
import { describeCommit } from "./lib/machine.mjs";
import { optConfig } from "./lib/opt-shape.mjs";
import { readOptions, runMain } from "./lib/options.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const DEFAULTS = { tokens: 2048, before: null, out: path.join(root, "bench", "results", "linear-stores.json") };
const OPT_175B = { layers: 96, hidden: 12288, heads: 96, ffn: 4 * 12288, vocab: 50272, maxpos: 2048 };
const MIB = 2 ** 20;
const UNITS = [256 * MIB, 64 * MIB];
const LINEAR = 2;
const HEADER_WORDS = 4;
const OPERAND_WORDS = 6;

/** The linears of a program: operands as `linearStore` takes them, and their sizes. */
function linearsOf(words, { DTYPE, ACTIVATION }) {
  const nameOf = (table, code) => Object.keys(table).find((name) => table[name] === code);
  const [, operands, ops, symbols] = words;
  const maxima = words.subarray(HEADER_WORDS, HEADER_WORDS + symbols);
  const operandAt = HEADER_WORDS + symbols;
  const operand = (index) => {
    if (index < 0) return null;
    const [, offset, dtype, rows, columns, stride] = words.subarray(operandAt + index * OPERAND_WORDS);
    return { dtype: nameOf(DTYPE, dtype), offset, rows: rows < 0 ? maxima[-1 - rows] : rows, columns, stride };
  };
  const linears = [];
  let at = operandAt + operands * OPERAND_WORDS;
  for (let op = 0; op < ops; op++) {
    const [code, count] = words.subarray(at);
    if (code === LINEAR) {
      const [out, x, weight, bias, residual, activation, scale, inner] = words.subarray(at + 2);
      linears.push({
        ...{ out: operand(out), x: operand(x), weight: operand(weight), bias: operand(bias) },
        ...{ residual: operand(residual), activation: nameOf(ACTIVATION, activation), scale, inner: inner !== 0 },
      });
    }
    at += 2 + count;
  }
  return linears;
}

/** What the package in a folder makes of the model. */
async function storesOf(folder, tokens, unitBytes) {
  const of = (file) => import(pathToFileURL(path.join(folder, "dist", "esm", file)));
  const [{ packBatch }, { Session }, { unitProgram }, { cutUnits }, { defineModel }, parameters, record, constants] =
    await Promise.all(
      [
        ...["data/index.js", "device/session.js", "memory/operands.js", "memory/units.js", "models/index.js"],
        ...["ops/parameter.js", "ops/record.js", "contract/constants.js"],
      ].map(of),
    );
  const definition = defineModel(optConfig(OPT_175B));
  const recorder = record.createRecorder(parameters.numberParameters(definition.parameters));
  definition.record(recorder);
  const recording = recorder.finish();
  const session = await Session.create(
    idleDevice(),
    recording,
    cutUnits(recording, { wire: "fp16", compute: "fp16", unitBytes }),
    {
      ...{ tierOf: () => "host", slots: 3, overlap: true, wire: "fp16", compute: "fp16", rounding: "nearest" },
      ...{ positionRow: definition.positionRow, poison: false },
    },
  );
  const ids = Int32Array.from({ length: tokens }, (_, i) => i);
  const plan = session.planForBatch(
    [packBatch([{ kind: "tokens", ids, labels: ids }])],
    [
      { direction: 0, sign: 1 },
      { direction: 0, sign: -1 },
    ],
  );
  const sums = { all: 0, general: 0, odd: 0 };
  const ways = { pairs: 0, chunks: 0, general: 0 };
  const columns = new Map();
  for (const unit of plan.units) {
    for (const linear of linearsOf(unitProgram(plan, unit, recording.inputs), constants)) {
      const { out, x } = linear;
      const work = 2 * x.rows * x.columns * out.columns;
      const way = linearStore(linear);
      const slow = way === "general" ? out.columns : out.columns % BATCH_COLUMNS;
      const first = out.offset / (out.dtype === "f32" ? 4 : 2);
      sums.all += work;
      sums.general += work * (slow / out.columns);
      if (out.columns % 2 !== 0 || first % 2 !== 0) sums.odd += work;
      ways[way]++;
      columns.set(out.columns, (columns.get(out.columns) ?? 0) + 1);
    }
  }
  const distinct = [...columns].sort(([a], [b]) => b - a).map(([count, linears]) => ({ columns: count, linears }));
  return {
    ...{ unitBytes, units: plan.units.length, operations: sums.all },
    ...{ slow: sums.general / sums.all, odd: sums.odd / sums.all, ways, columns: distinct },
  };
}

async function checkout(folder, tokens) {
  const rows = [];
  for (const unitBytes of UNITS) rows.push(await storesOf(folder, tokens, unitBytes));
  return { ...describeCommit(folder), rows };
}

await runMain("linear-stores", async () => {
  const o = readOptions(process.argv.slice(2), DEFAULTS);
  const about = { bench: "linear-stores", date: new Date().toISOString(), node: process.version };
  const { rows, ...commit } = await checkout(root, o.tokens);
  const before = o.before === null ? null : await checkout(path.resolve(o.before), o.tokens);
  const result = { ...about, ...commit, model: "OPT-175B", tokens: o.tokens, after: rows, before };
  fs.mkdirSync(path.dirname(o.out), { recursive: true });
  fs.writeFileSync(o.out, `${JSON.stringify(result, null, 2)}\n`);
  const shown = ({ unitBytes, units, slow, odd, ways }) => ({ MiB: unitBytes / MIB, units, slow, odd, ...ways });
  console.table(rows.map(shown));
  if (before !== null) console.table(before.rows.map(shown));
});
