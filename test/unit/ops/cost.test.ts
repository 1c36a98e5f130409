import { attentionCost, productCost } from "../../../src/ops/cost.js";
import { loweredOps } from "../../../src/memory/operands.js";
import { defineModel } from "../../../src/models/index.js";
import { numberParameters } from "../../../src/ops/parameter.js";
import { createRecorder } from "../../../src/ops/record.js";
import { cutUnits } from "../../../src/memory/units.js";
import { planOf } from "../memory/support.js";

const LAYERS = 2;
const HIDDEN = 64;
const FFN = 256;
const VOCAB = 1000;
const config = {
  model_type: "opt",
  vocab_size: VOCAB,
  hidden_size: HIDDEN,
  num_hidden_layers: LAYERS,
  num_attention_heads: 4,
  ffn_dim: FFN,
  max_position_embeddings: 128,
};
const ROWS = 7;
const HEAD_ROWS = 5;
const symbols = {
  ...{ rows: ROWS, sequences: 1, headRows: HEAD_ROWS, targets: HEAD_ROWS },
  ...{ tableRows: ROWS, prefixRows: 0, keyRows: ROWS },
};

it("counts 2 M N K for every matrix product of the model, cut heads included, and nothing else", () => {
  const recorder = createRecorder(numberParameters(defineModel(config).parameters));
  defineModel(config).record(recorder);
  const recording = recorder.finish();
  const units = cutUnits(recording, { wire: "fp32", compute: "fp32" });
  const plan = planOf(units, { compute: "fp32" });
  const ops = units.flatMap((unit) => loweredOps(plan, unit, recording.inputs));
  const flops = (name: string) =>
    ops.filter(({ op }) => op.name === name).reduce((sum, op) => sum + productCost(op, symbols).operations, 0);
  expect(flops("linear")).toBe(LAYERS * 2 * ROWS * (4 * HIDDEN * HIDDEN + 2 * HIDDEN * FFN));
  expect(flops("crossEntropy")).toBe(2 * HEAD_ROWS * VOCAB * HIDDEN);
  expect(ops.filter(({ op }) => op.name === "crossEntropy").length).toBeGreaterThan(1);
  expect(new Set(ops.map(({ op }) => op.name))).toEqual(
    new Set(["embed", "linear", "layerNorm", "attention", "gatherRows", "crossEntropy"]),
  );
  const others = ops.filter(({ op }) => op.name !== "linear" && op.name !== "crossEntropy");
  expect(others.map((op) => productCost(op, symbols).operations)).toEqual(others.map(() => 0));
  const sizes = ops.filter(({ op }) => op.row.product !== undefined).map((op) => productCost(op, symbols).size);
  expect(new Set(sizes)).toEqual(new Set([ROWS, HEAD_ROWS]));
});

it("counts 4 operations for each pair of a row and a key that it sees, and each column", () => {
  const recorder = createRecorder(numberParameters(defineModel(config).parameters));
  defineModel(config).record(recorder);
  const recording = recorder.finish();
  const units = cutUnits(recording, { wire: "fp32", compute: "fp32" });
  const ops = units.flatMap((unit) => loweredOps(planOf(units, { compute: "fp32" }), unit, recording.inputs));
  const costs = ops.map((op) => attentionCost(op, { ...symbols, rows: 14, sequences: 2 }));
  // Two sequences of 7: the first row of each sees 1 key, the last 7.
  const pairs = 2 * ((7 * 8) / 2);
  expect(costs.reduce((sum, { operations }) => sum + operations, 0)).toBe(LAYERS * 4 * pairs * HIDDEN);
  expect(new Set(costs.filter(({ operations }) => operations > 0).map(({ size }) => size))).toEqual(new Set([4]));
});
