import type { Parameter } from "./parameter.js";

/** A number of rows that a batch decides (`ZO2_SYMBOL_*`). */
export type RowSymbol = "rows" | "sequences" | "headRows" | "targets" | "tableRows";

/** Columns of the table of sequences: start, length, prefixStart, prefixLength, keyStart (`ZO2_OP_ATTENTION`). */
export const SEQUENCE_FIELDS = 5;

/** What an op reads or writes besides parameters; `inputs` are int32 tables that come with a batch. */
export interface Value {
  readonly id: number;
  readonly name: string;
  /** Decided by a batch, or the same always. */
  readonly rows: RowSymbol | number;
  readonly columns: number;
  /** `activation`: placed by the memory plan. `input`, `result`: at a fixed place in the space of that name. */
  readonly kind: "activation" | "input" | "result";
  /** Columns of another value, from `first` on: it has no place of its own. */
  readonly view?: { readonly of: Value; readonly first: number };
}

export type Activation = "none" | "relu" | "gelu" | "geluTanh" | "silu";

/** What the head of a pass leaves behind: log-probabilities of the targets, or the logits of the head rows. */
export type Output = "logprobs" | "logits";

/** The head: x weight^T + bias, at the head rows. Which of its values are written depends on the pass. */
export interface HeadOp {
  readonly kind: "head";
  readonly x: Value;
  readonly weight: Parameter;
  /** Null where the targets' log-probabilities are asked for: the streamed cross entropy has no bias. */
  readonly bias: Parameter | null;
  readonly targets: Value;
  /** [targets, 1] */
  readonly logprob: Value;
  /** [headRows, 2] running maximum and sum of exponentials of the streamed vocabulary. */
  readonly state: Value;
  /** [headRows, rows of weight] */
  readonly logits: Value;
}

/**
 * Rotary position embedding of heads of `headSize` columns, of which the first 2 x frequencies turn (RoFormer, arXiv
 * 2104.09864).
 */
export interface Rotary {
  readonly headSize: number;
  /** Radians per position, for each pair of columns. */
  readonly frequencies: readonly number[];
  /** Factor of sine and cosine. */
  readonly scaling: number;
}

/** One operation of the recorded forward pass; the meaning of each is that of its opcode in `contract/zo2.h`. */
export type Op =
  | {
      readonly kind: "embed";
      readonly out: Value;
      readonly table: Parameter;
      readonly index: Value;
      readonly accumulate: boolean;
    }
  | {
      readonly kind: "linear";
      readonly out: Value;
      readonly x: Value;
      readonly weight: Parameter;
      readonly bias: Parameter | null;
      readonly residual: Value | null;
      readonly activation: Activation;
      /**
       * Where a weight that the checkpoint stores as [inputs, outputs] is turned to [outputs, inputs]; null for one
       * that is stored so.
       */
      readonly turned: Value | null;
    }
  | {
      readonly kind: "layerNorm";
      readonly out: Value;
      readonly x: Value;
      readonly gain: Parameter;
      readonly bias: Parameter;
      readonly epsilon: number;
    }
  | {
      readonly kind: "rmsNorm";
      readonly out: Value;
      readonly x: Value;
      readonly gain: Parameter;
      readonly epsilon: number;
    }
  | {
      readonly kind: "rope";
      readonly out: Value;
      readonly x: Value;
      readonly positions: Value;
      readonly rotary: Rotary;
    }
  | {
      readonly kind: "gatedActivation";
      readonly out: Value;
      readonly gate: Value;
      readonly up: Value;
      readonly activation: Activation;
    }
  | {
      readonly kind: "attention";
      readonly out: Value;
      readonly q: Value;
      readonly k: Value;
      readonly v: Value;
      readonly sequences: Value;
      readonly heads: number;
      readonly kvHeads: number;
      readonly scale: number;
      /** Positions that a token sees, itself included; 0: all before it. */
      readonly window: number;
    }
  | { readonly kind: "gatherRows"; readonly out: Value; readonly x: Value; readonly index: Value }
  | HeadOp;

/** A model's natural stage. `layer` blocks repeat; the largest of them is the default size of a unit. */
export interface Block {
  readonly name: string;
  readonly kind: "embedding" | "layer" | "head";
  readonly ops: readonly Op[];
}

export interface Recording {
  readonly parameters: readonly Parameter[];
  readonly blocks: readonly Block[];
  readonly inputs: Inputs;
  readonly head: HeadOp;
}

/** The int32 tables of one micro-batch (`PackedBatch`). */
export interface Inputs {
  /** [rows, 1] rows of the embedding table: token ids, or rows of the gathered table when the embedding is tied. */
  readonly tokens: Value;
  /** [rows, 1] */
  readonly positions: Value;
  /** [sequences, 5] */
  readonly sequences: Value;
  /** [headRows, 1] */
  readonly headRows: Value;
  /** [targets, 2] */
  readonly targets: Value;
  /** [rows, 1] where each row's key and value go in the cache. */
  readonly cacheRows: Value;
}

/**
 * Records a model's forward pass as a flat list of ops, block by block. A model family calls it once; nothing runs
 * while it records.
 */
export class Recorder {
  readonly inputs: Inputs;
  private readonly byName: ReadonlyMap<string, Parameter>;
  private readonly blocks: Block[] = [];
  private ops: Op[] | null = null;
  private recordedHead: HeadOp | null = null;
  private values = 0;

  constructor(private readonly parameters: readonly Parameter[]) {
    this.byName = new Map(parameters.map((p) => [p.name, p]));
    this.inputs = {
      tokens: this.value("tokens", "rows", 1, "input"),
      positions: this.value("positions", "rows", 1, "input"),
      sequences: this.value("sequences", "sequences", SEQUENCE_FIELDS, "input"),
      headRows: this.value("headRows", "headRows", 1, "input"),
      targets: this.value("targets", "targets", 2, "input"),
      cacheRows: this.value("cacheRows", "rows", 1, "input"),
    };
  }

  parameter(name: string): Parameter {
    const parameter = this.byName.get(name);
    if (parameter === undefined) throw new Error(`the model records the parameter ${name}, which it does not declare`);
    return parameter;
  }

  /** Null where the model declares no such parameter: a bias that the family may lack. */
  optional(name: string): Parameter | null {
    return this.byName.get(name) ?? null;
  }

  block<T>(name: string, kind: Block["kind"], body: () => T): T {
    const ops: Op[] = [];
    this.ops = ops;
    const result = body();
    this.ops = null;
    this.blocks.push({ name, kind, ops });
    return result;
  }

  /** out = table[index]; with `onto`, added to that value in place. */
  embed(table: Parameter, index: Value, onto?: Value): Value {
    const out = onto ?? this.value("embedding", "rows", table.shape[1] ?? 1);
    this.push({ kind: "embed", out, table, index, accumulate: onto !== undefined });
    return out;
  }

  /**
   * activation(x weight^T + bias) + residual; `turned`: activation(x weight + bias) + residual, for a weight stored as
   * [inputs, outputs].
   */
  linear(
    x: Value,
    weight: Parameter,
    bias: Parameter | null,
    o: { activation?: Activation; residual?: Value; turned?: boolean } = {},
  ): Value {
    const [rows = 1, columns = 1] = weight.shape;
    const turned = o.turned === true ? this.value("weight^T", columns, rows) : null;
    const out = this.value("linear", x.rows, turned === null ? rows : columns);
    this.push({
      kind: "linear",
      out,
      x,
      weight,
      bias,
      residual: o.residual ?? null,
      activation: o.activation ?? "none",
      turned,
    });
    return out;
  }

  layerNorm(x: Value, gain: Parameter, bias: Parameter, epsilon: number): Value {
    const out = this.value("layerNorm", x.rows, x.columns);
    this.push({ kind: "layerNorm", out, x, gain, bias, epsilon });
    return out;
  }

  /** Each group of as many columns as `gain` has is normalised by itself (RMSNorm, arXiv 1910.07467). */
  rmsNorm(x: Value, gain: Parameter, epsilon: number): Value {
    const out = this.value("rmsNorm", x.rows, x.columns);
    this.push({ kind: "rmsNorm", out, x, gain, epsilon });
    return out;
  }

  rope(x: Value, rotary: Rotary): Value {
    const out = this.value("rope", x.rows, x.columns);
    this.push({ kind: "rope", out, x, positions: this.inputs.positions, rotary });
    return out;
  }

  /** activation(gate) x up */
  gatedActivation(gate: Value, up: Value, activation: Activation): Value {
    const out = this.value("gatedActivation", gate.rows, gate.columns);
    this.push({ kind: "gatedActivation", out, gate, up, activation });
    return out;
  }

  /** Causal attention over the packed sequences of the batch. q: [rows, heads x d]; k, v: [rows, kvHeads x d]. */
  attention(
    q: Value,
    k: Value,
    v: Value,
    o: { heads: number; kvHeads: number; scale: number; window?: number },
  ): Value {
    const out = this.value("attention", q.rows, q.columns);
    this.push({ kind: "attention", out, q, k, v, sequences: this.inputs.sequences, window: 0, ...o });
    return out;
  }

  gatherRows(x: Value, index: Value): Value {
    const out = this.value("gatherRows", index.rows, x.columns);
    this.push({ kind: "gatherRows", out, x, index });
    return out;
  }

  /** Columns first .. first + count of a value; nothing is copied. */
  columns(of: Value, first: number, count: number): Value {
    return {
      id: this.values++,
      name: `${of.name} columns`,
      rows: of.rows,
      columns: count,
      kind: of.kind,
      view: { of, first },
    };
  }

  /** What the model predicts from x, which has the head rows: it ends the recording. */
  head(x: Value, weight: Parameter, bias: Parameter | null = null): void {
    this.recordedHead = {
      kind: "head",
      x,
      weight,
      bias,
      targets: this.inputs.targets,
      logprob: this.value("logprob", "targets", 1, "result"),
      state: this.value("logSumExp", "headRows", 2),
      logits: this.value("logits", "headRows", weight.shape[0] ?? 1, "result"),
    };
    this.push(this.recordedHead);
  }

  finish(): Recording {
    if (this.recordedHead === null) throw new Error("the model records no head");
    return { parameters: this.parameters, blocks: this.blocks, inputs: this.inputs, head: this.recordedHead };
  }

  private push(op: Op): void {
    if (this.ops === null) throw new Error("an op is recorded outside of a block");
    this.ops.push(op);
  }

  private value(name: string, rows: Value["rows"], columns: number, kind: Value["kind"] = "activation"): Value {
    return { id: this.values++, name, rows, columns, kind };
  }
}

/** The values with a place of their own that an op reads and writes, parameters left out. */
export function valuesOf(op: Op, output: Output): readonly Value[] {
  return operandsOf(op, output).map((value) => value.view?.of ?? value);
}

function operandsOf(op: Op, output: Output): readonly Value[] {
  switch (op.kind) {
    case "embed":
      return [op.out, op.index];
    case "linear":
      return [op.out, op.x, op.residual, op.turned].filter((value) => value !== null);
    case "layerNorm":
    case "rmsNorm":
      return [op.out, op.x];
    case "rope":
      return [op.out, op.x, op.positions];
    case "gatedActivation":
      return [op.out, op.gate, op.up];
    case "attention":
      return [op.out, op.q, op.k, op.v, op.sequences];
    case "gatherRows":
      return [op.out, op.x, op.index];
    case "head":
      return output === "logits" ? [op.logits, op.x] : [op.logprob, op.state, op.x, op.targets];
  }
}

/** The parameters that an op reads; the one that may be cut along its rows comes first. */
export function parametersOf(op: Op): readonly Parameter[] {
  switch (op.kind) {
    case "embed":
      return [op.table];
    case "linear":
    case "head":
      return op.bias === null ? [op.weight] : [op.weight, op.bias];
    case "layerNorm":
      return [op.gain, op.bias];
    case "rmsNorm":
      return [op.gain];
    case "rope":
    case "gatedActivation":
    case "attention":
    case "gatherRows":
      return [];
  }
}
