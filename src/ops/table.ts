/**
 * Every op: one row each. Recording (`record.ts`), storage types and places (`memory/places.ts`), the cut into units
 * (`memory/units.ts`) and the words of a program (`encode.ts`) derive from it; what each computes is said at its number
 * in `contract/zo2.h`. A new op is a new row here, and its kernels.
 */
import { ACTIVATION, TILE } from "../contract/constants.js";
import type { Attribute, Given, OpTable } from "./row.js";
import type { Inputs, Shape } from "./value.js";

export type Activation = keyof typeof ACTIVATION;

/**
 * Rotary position embedding of heads of `headSize` columns, of which the first 2 x frequencies rotate (RoFormer, arXiv
 * 2104.09864).
 */
export interface Rotary {
  readonly headSize: number;
  /** Radians per position, for each pair of columns. */
  readonly frequencies: readonly number[];
  /** Factor of sine and cosine. */
  readonly scaling: number;
}

const read = { role: "in" } as const;
const weight = { role: "weight" } as const;
const table = <K extends keyof Inputs>(input: K) => ({ role: "table", input }) as const;
const makes = (shape: (given: Given) => Shape) => ({ role: "out", shape }) as const;
const optional = <O extends object>(operand: O) => ({ ...operand, optional: true }) as const;

/** As x, row by row. */
const likeX = makes((given) => given.value("x"));

const number: Attribute<number> = { words: (value) => [value] };
const flag: Attribute<boolean> = { words: (value) => [value ? 1 : 0] };
const activation: Attribute<Activation> = { words: (name) => [ACTIVATION[name]] };
const attending = { heads: number, kvHeads: number, scale: number, window: { ...number, otherwise: 0 as number } };
const rotary: Attribute<Rotary> = {
  words: ({ headSize, frequencies, scaling }) => [
    headSize,
    2 * frequencies.length,
    scaling,
    frequencies.length,
    ...frequencies,
  ],
};

export const OPS = {
  /** Rows of a table; a later one is added onto the one before. */
  embed: {
    code: 1,
    operands: {
      out: makes((given) => ({ rows: given.value("index").rows, columns: given.weight("table").columns })),
      table: weight,
      index: read,
    },
    attributes: { accumulate: { ...flag, otherwise: false as boolean } },
    sum: ["out"],
    gathers: true,
    accumulates: true,
    cut: { along: "table", words: ({ start, count }) => [start, count] },
  },
  /** activation(scale (x weight^T) + bias) + residual; with `inner`, the residual is added before the activation. */
  linear: {
    code: 2,
    operands: {
      out: makes((given) => ({ rows: given.value("x").rows, columns: given.weight("weight").rows })),
      x: read,
      weight,
      bias: optional(weight),
      residual: optional(read),
    },
    attributes: {
      activation: { ...activation, otherwise: "none" as Activation },
      scale: { ...number, otherwise: 1 as number },
      inner: { ...flag, otherwise: false as boolean },
    },
    sum: ["out", "residual"],
    inner: "inner",
    over: "residual",
    cut: { along: "weight", columns: ["out", "residual"] },
    product: ["x", "weight"],
  },
  layerNorm: {
    code: 3,
    operands: { out: likeX, x: read, gain: weight, bias: optional(weight) },
    attributes: { epsilon: number },
    over: "x",
  },
  /**
   * Causal attention over the packed sequences of the batch. q: [rows, heads x d]; k, v: [rows, kvHeads x d]. `window`:
   * positions that a token sees, itself included; 0: all before it.
   */
  attention: {
    code: 4,
    operands: {
      out: makes((given) => given.value("q")),
      q: read,
      k: read,
      v: read,
      sequences: table("sequences"),
    },
    attributes: attending,
  },
  /**
   * Attention of sequences that see rows of keys and values in front of their own. keys, values: [keyRows, kvHeads x
   * d], what a pass without a cache puts together of both.
   */
  prefixedAttention: {
    code: null,
    operands: {
      out: makes((given) => given.value("q")),
      keys: makes((given) => ({ rows: "keyRows", columns: given.value("k").columns })),
      values: makes((given) => ({ rows: "keyRows", columns: given.value("v").columns })),
      q: read,
      k: read,
      v: read,
      prefixKeys: read,
      prefixValues: read,
      sequences: table("sequences"),
    },
    attributes: attending,
  },
  gatherRows: {
    code: 5,
    operands: {
      out: makes((given) => ({ rows: given.value("index").rows, columns: given.value("x").columns })),
      x: read,
      index: read,
    },
    attributes: {},
    like: "x",
  },
  /** The streamed head: log-probabilities of the targets, a tile of the vocabulary at a time. */
  crossEntropy: {
    code: 6,
    operands: { logprob: read, state: read, x: read, weight, targets: table("targets") },
    attributes: {},
    cut: {
      along: "weight",
      words: ({ start, first, last }) => [start, (first ? TILE.first : 0) | (last ? TILE.last : 0)],
    },
    product: ["x", "weight"],
  },
  /** Each group of as many columns as `gain` has is normalised by itself (RMSNorm, arXiv 1910.07467). */
  rmsNorm: {
    code: 7,
    operands: { out: likeX, x: read, gain: weight },
    attributes: { epsilon: number },
    over: "x",
  },
  rope: {
    code: 8,
    operands: { out: likeX, x: read, positions: table("positions") },
    attributes: { rotary },
    over: "x",
  },
  /** activation(gate) x up */
  gatedActivation: {
    code: 9,
    operands: { out: makes((given) => given.value("gate")), gate: read, up: read },
    attributes: { activation },
    over: "gate",
  },
  /** A weight that the checkpoint stores as [inputs, outputs], as [outputs, inputs]. */
  transpose: {
    code: 11,
    operands: {
      out: makes((given) => ({ rows: given.weight("x").columns, columns: given.weight("x").rows })),
      x: weight,
    },
    attributes: {},
    joined: true,
  },
  /** out[index[r]] = x[r]: new keys and values into their rows of the cache. */
  scatterRows: { code: 12, operands: { out: read, x: read, index: table("cacheRows") }, attributes: {} },
  /** What the model predicts from the head rows: x weight^T + bias, as logits or as the targets' log-probabilities. */
  head: {
    code: null,
    operands: {
      logprob: { role: "out", kind: "result", when: "logprobs", shape: () => ({ rows: "targets", columns: 1 }) },
      // The running maximum and sum of exponentials of the streamed vocabulary.
      state: { role: "out", when: "logprobs", shape: () => ({ rows: "headRows", columns: 2 }) },
      logits: {
        role: "out",
        kind: "result",
        when: "logits",
        shape: (given: Given) => ({ rows: "headRows", columns: given.weight("weight").rows }),
      },
      x: read,
      weight,
      bias: optional(weight),
      targets: { role: "table", input: "targets", when: "logprobs" },
    },
    attributes: {},
    sum: ["logprob", "state", "logits"],
    cut: { along: "weight" },
  },
} as const satisfies OpTable;

export type OpName = keyof typeof OPS;
