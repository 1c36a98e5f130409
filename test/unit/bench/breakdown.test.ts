import { defineModel } from "../../../src/models/index.js";
import { numberParameters } from "../../../src/ops/parameter.js";
import { createRecorder } from "../../../src/ops/record.js";
import { SYMBOL } from "../../../src/contract/constants.js";
import { planMemory } from "../../../src/memory/plan.js";
import { OPS } from "../../../src/ops/table.js";
import { unitProgram } from "../../../src/memory/operands.js";
import { cutUnits } from "../../../src/memory/units.js";
import { inModule } from "./modules.js";

const OP = Object.fromEntries(Object.entries(OPS).map(([name, { code }]) => [name, code]));
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

/** The programs of all units, as words. */
function programs(): number[][] {
  const definition = defineModel(config);
  const recorder = createRecorder(numberParameters(definition.parameters));
  definition.record(recorder);
  const recording = recorder.finish();
  const units = cutUnits(recording, { wire: "fp32", compute: "fp32" });
  const capacity = { rows: 8, sequences: 1, headRows: 8, targets: 8, tableRows: 8, microBatches: 1, objectiveWords: 1 };
  const plan = planMemory(units, {
    tier: "host",
    slots: 3,
    branches: 2,
    capacity,
    output: "logprobs",
    cache: null,
    wire: "fp32",
    compute: "fp32",
  });
  return units.map((unit) => Array.from(unitProgram(plan, unit, recording.inputs)));
}

interface Piece {
  readonly what: string;
  readonly words: number[];
  readonly flops: number;
}

function split(words: number[], symbols: readonly number[]): Piece[] {
  const body =
    "return m.splitProgram(args[0], args[2]).map((op) => ({ what: op.what, words: Array.from(op.words), flops: " +
    "op.flops(args[1]) }))";
  return inModule("bench/lib/split-program.mjs", body, words, symbols, OP) as Piece[];
}

const ROWS = 7;
const HEAD_ROWS = 5;
const symbols: number[] = [];
symbols[SYMBOL.rows] = ROWS;
symbols[SYMBOL.sequences] = 1;
symbols[SYMBOL.headRows] = HEAD_ROWS;
symbols[SYMBOL.targets] = HEAD_ROWS;
symbols[SYMBOL.tableRows] = ROWS;

describe("a program that is cut op by op", () => {
  it("keeps every operand and every op, in order", () => {
    for (const words of programs()) {
      const [version, operands, ops, symbolCount] = words;
      const opsAt = 4 + symbolCount + 6 * operands;
      const pieces = split(words, symbols);
      expect(pieces).toHaveLength(ops);
      for (const piece of pieces) {
        expect(piece.words.slice(0, 4)).toEqual([version, operands, 1, symbolCount]);
        expect(piece.words.slice(4, opsAt)).toEqual(words.slice(4, opsAt));
      }
      expect(pieces.flatMap((p) => p.words.slice(opsAt))).toEqual(words.slice(opsAt));
    }
  });

  it("counts 2 M N K for every matrix product of the model, cut heads included, and nothing else", () => {
    const pieces = programs().flatMap((words) => split(words, symbols));
    const flops = (what: string) => pieces.filter((p) => p.what === what).reduce((sum, p) => sum + p.flops, 0);
    expect(flops("linear")).toBe(LAYERS * 2 * ROWS * (4 * HIDDEN * HIDDEN + 2 * HIDDEN * FFN));
    expect(flops("crossEntropy")).toBe(2 * HEAD_ROWS * VOCAB * HIDDEN);
    expect(pieces.filter((p) => p.what === "crossEntropy").length).toBeGreaterThan(1);
    expect(pieces.reduce((sum, p) => sum + p.flops, 0)).toBe(flops("linear") + flops("crossEntropy"));
    expect(new Set(pieces.map((p) => p.what))).toEqual(
      new Set(["embed", "linear", "layerNorm", "attention", "gatherRows", "crossEntropy"]),
    );
  });
});

describe("where the time goes", () => {
  const breakdown = (...steps: object[][]) =>
    inModule("bench/lib/breakdown.mjs", "return m.breakdown(args)", ...steps) as {
      seconds: number;
      rows: { what: string; count: number; seconds: number; share: number; rate?: number; unit?: string }[];
      matrixProducts: { seconds: number; gflops: number };
    };

  it("is summed by kind within a step, and the median is taken over steps", () => {
    const step = (scale: number) => [
      { what: "linear", seconds: 1 * scale, flops: 4e9 },
      { what: "upload", seconds: 1 * scale, bytes: 2e9 },
      { what: "linear", seconds: 3 * scale, flops: 4e9 },
    ];
    const { seconds, rows, matrixProducts } = breakdown(step(1), step(10), step(2));
    expect(rows).toMatchObject([
      { what: "linear", count: 2, seconds: 8, share: 0.8, rate: 1, unit: "GFLOP/s" },
      { what: "upload", count: 1, seconds: 2, share: 0.2, rate: 1, unit: "GB/s" },
    ]);
    expect(seconds).toBe(10);
    expect(matrixProducts).toMatchObject({ seconds: 8, gflops: 1 });
  });

  it("counts the head's products among the matrix products, and attention not", () => {
    const entries = [
      { what: "crossEntropy", seconds: 1, flops: 3e9 },
      { what: "linear", seconds: 1, flops: 1e9 },
      { what: "attention", seconds: 5, flops: 0 },
    ];
    expect(breakdown(entries).matrixProducts).toMatchObject({ seconds: 2, gflops: 2 });
  });
});
