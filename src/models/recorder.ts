import type { Parameter } from "./parameter.js";

/** A number of rows that a batch decides (`ZO2_SYMBOL_*`). */
export type RowSymbol = "rows" | "sequences" | "headRows" | "targets" | "tableRows";

/** What an op reads or writes besides parameters. Activations are fp32; `inputs` are int32 tables that come with a batch. */
export interface Value {
  readonly id: number;
  readonly name: string;
  readonly rows: RowSymbol;
  readonly columns: number;
  /** `activation`: placed by the memory plan. `input`, `result`: at a fixed place in the space of that name. */
  readonly kind: "activation" | "input" | "result";
}

export type Activation = "none" | "relu" | "gelu";

/** One operation of the recorded forward pass; the meaning of each is that of its opcode in `binding/zo2.h`. */
export type Op =
  | { readonly kind: "embed"; readonly out: Value; readonly table: Parameter; readonly index: Value; readonly accumulate: boolean }
  | {
      readonly kind: "linear"; readonly out: Value; readonly x: Value; readonly weight: Parameter; readonly bias: Parameter | null;
      readonly residual: Value | null; readonly activation: Activation;
    }
  | { readonly kind: "layerNorm"; readonly out: Value; readonly x: Value; readonly gain: Parameter; readonly bias: Parameter; readonly epsilon: number }
  | {
      readonly kind: "attention"; readonly out: Value; readonly q: Value; readonly k: Value; readonly v: Value; readonly sequences: Value;
      readonly heads: number; readonly kvHeads: number; readonly scale: number;
    }
  | { readonly kind: "gatherRows"; readonly out: Value; readonly x: Value; readonly index: Value }
  | {
      readonly kind: "crossEntropy"; readonly logprob: Value; readonly state: Value; readonly x: Value; readonly weight: Parameter;
      readonly targets: Value;
    };

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
  /** Log-probabilities of the targets, or the logits of the head rows. */
  readonly result: Value;
}

/** The int32 tables of one micro-batch (`PackedBatch`). */
export interface Inputs {
  /** [rows, 1] rows of the embedding table: token ids, or rows of the gathered table when the embedding is tied. */
  readonly tokens: Value;
  /** [rows, 1] */
  readonly positions: Value;
  /** [sequences, 4] */
  readonly sequences: Value;
  /** [headRows, 1] */
  readonly headRows: Value;
  /** [targets, 2] */
  readonly targets: Value;
}

/**
 * Records a model's forward pass as a flat list of ops, block by block. A model family calls it once; nothing runs while it records.
 */
export class Recorder {
  readonly inputs: Inputs;
  private readonly byName: ReadonlyMap<string, Parameter>;
  private readonly blocks: Block[] = [];
  private ops: Op[] | null = null;
  private values = 0;

  constructor(private readonly parameters: readonly Parameter[]) {
    this.byName = new Map(parameters.map((p) => [p.name, p]));
    this.inputs = {
      tokens: this.value("tokens", "rows", 1, "input"),
      positions: this.value("positions", "rows", 1, "input"),
      sequences: this.value("sequences", "sequences", 4, "input"),
      headRows: this.value("headRows", "headRows", 1, "input"),
      targets: this.value("targets", "targets", 2, "input"),
    };
  }

  parameter(name: string): Parameter {
    const parameter = this.byName.get(name);
    if (parameter === undefined) throw new Error(`the model records the parameter ${name}, which it does not declare`);
    return parameter;
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

  /** activation(x weight^T + bias) + residual */
  linear(x: Value, weight: Parameter, bias: Parameter | null, o: { activation?: Activation; residual?: Value; result?: boolean } = {}): Value {
    const out = this.value("linear", x.rows, weight.shape[0] ?? 1, o.result === true ? "result" : "activation");
    this.push({ kind: "linear", out, x, weight, bias, residual: o.residual ?? null, activation: o.activation ?? "none" });
    return out;
  }

  layerNorm(x: Value, gain: Parameter, bias: Parameter, epsilon: number): Value {
    const out = this.value("layerNorm", x.rows, x.columns);
    this.push({ kind: "layerNorm", out, x, gain, bias, epsilon });
    return out;
  }

  /** Causal attention over the packed sequences of the batch. q: [rows, heads x d]; k, v: [rows, kvHeads x d]. */
  attention(q: Value, k: Value, v: Value, o: { heads: number; kvHeads: number; scale: number }): Value {
    const out = this.value("attention", q.rows, q.columns);
    this.push({ kind: "attention", out, q, k, v, sequences: this.inputs.sequences, ...o });
    return out;
  }

  gatherRows(x: Value, index: Value): Value {
    const out = this.value("gatherRows", index.rows, x.columns);
    this.push({ kind: "gatherRows", out, x, index });
    return out;
  }

  /** Log-probability of each target under x weight^T, with the vocabulary streamed. */
  crossEntropy(x: Value, weight: Parameter): Value {
    const logprob = this.value("logprob", "targets", 1, "result");
    const state = this.value("logSumExp", "headRows", 2);
    this.push({ kind: "crossEntropy", logprob, state, x, weight, targets: this.inputs.targets });
    return logprob;
  }

  finish(result: Value): Recording {
    return { parameters: this.parameters, blocks: this.blocks, inputs: this.inputs, result };
  }

  private push(op: Op): void {
    if (this.ops === null) throw new Error("an op is recorded outside of a block");
    this.ops.push(op);
  }

  private value(name: string, rows: RowSymbol, columns: number, kind: Value["kind"] = "activation"): Value {
    return { id: this.values++, name, rows, columns, kind };
  }
}

/** The values that an op reads and writes, parameters left out. */
export function valuesOf(op: Op): readonly Value[] {
  switch (op.kind) {
    case "embed":
      return [op.out, op.index];
    case "linear":
      return op.residual === null ? [op.out, op.x] : [op.out, op.x, op.residual];
    case "layerNorm":
      return [op.out, op.x];
    case "attention":
      return [op.out, op.q, op.k, op.v, op.sequences];
    case "gatherRows":
      return [op.out, op.x, op.index];
    case "crossEntropy":
      return [op.logprob, op.state, op.x, op.targets];
  }
}

/** The parameters that an op reads; the one that may be cut along its rows comes first. */
export function parametersOf(op: Op): readonly Parameter[] {
  switch (op.kind) {
    case "embed":
      return [op.table];
    case "linear":
      return op.bias === null ? [op.weight] : [op.weight, op.bias];
    case "layerNorm":
      return [op.gain, op.bias];
    case "crossEntropy":
      return [op.weight];
    case "attention":
    case "gatherRows":
      return [];
  }
}
