/** A model's forward pass as a flat list of ops, block by block: recorded once, whatever runs it. */
import { type Parameter, rowsOf } from "./parameter.js";
import type { Op, Operand, OperandRole, OpRow, OpTable, Recordable } from "./row.js";
import { OPS } from "./table.js";
import { type Inputs, type Output, rootOf, SEQUENCE_FIELDS, type Shape, type Value } from "./value.js";

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
  /** [headRows, columns]: what the head computes, the vocabulary, the labels, or the start and the end of an answer. */
  readonly logits: Value;
}

/** A recorder has a method for every op of its table, by the op's name; each gives what the op makes. */
export type Recorder<T extends OpTable = typeof OPS> = RecorderBase & {
  readonly [K in keyof T & string]: (given: Recordable<T[K]>) => Value;
};

/** @param table the ops that can be recorded; another one than `OPS` is for tests. */
export function createRecorder<T extends OpTable = typeof OPS>(
  parameters: readonly Parameter[],
  table: T = OPS as OpTable as T,
): Recorder<T> {
  const base = new RecorderBase(parameters);
  const methods = Object.entries(table).map(([name, row]) => [
    name,
    (given: Readonly<Record<string, unknown>>) => base.record(name, row, given),
  ]);
  return Object.assign(base, Object.fromEntries(methods) as object) as unknown as Recorder<T>;
}

class RecorderBase {
  readonly inputs: Inputs;
  private readonly byName: ReadonlyMap<string, Parameter>;
  private readonly blocks: Block[] = [];
  private ops: Op[] | null = null;
  private values = 0;
  private logits: Value | null = null;

  constructor(private readonly parameters: readonly Parameter[]) {
    this.byName = new Map(parameters.map((p) => [p.name, p]));
    const input = (name: string, rows: Shape["rows"], columns = 1) => this.value(name, { rows, columns }, "input");
    this.inputs = {
      tokens: input("tokens", "rows"),
      positions: input("positions", "rows"),
      sequences: input("sequences", "sequences", SEQUENCE_FIELDS),
      headRows: input("headRows", "headRows"),
      targets: input("targets", "targets", 2),
      cacheRows: input("cacheRows", "rows"),
      prefixIds: input("prefixIds", "prefixRows"),
      prefixPlaces: input("prefixPlaces", "prefixRows"),
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

  /** Columns first .. first + count of a value; nothing is copied. */
  columns(of: Value, first: number, count: number): Value {
    const shape = { rows: of.rows, columns: count };
    return { ...this.value(`${of.name} columns`, shape, of.kind), view: { of, first } };
  }

  finish(): Recording {
    if (this.logits === null) throw new Error("the model records no head");
    return { parameters: this.parameters, blocks: this.blocks, inputs: this.inputs, logits: this.logits };
  }

  /** Records one op of the table. @returns what it makes, the first where it makes several */
  record(name: string, row: OpRow, given: Readonly<Record<string, unknown>>): Value {
    if (this.ops === null) throw new Error(`the op ${name} is recorded outside of a block`);
    const onto = given["onto"] as Value | undefined;
    const attributes: Record<string, unknown> = {};
    for (const [attribute, { otherwise }] of Object.entries(row.attributes)) {
      attributes[attribute] = given[attribute] ?? otherwise;
    }
    if (row.accumulates === true) attributes["accumulate"] = onto !== undefined;
    const operands: Record<string, Operand | null> = {};
    const outs = Object.entries(row.operands).filter(([, operand]) => operand.role === "out");
    for (const [operand, { role, ...rest }] of Object.entries(row.operands)) {
      if (role === "out") operands[operand] = null;
      else if (role === "table" && "input" in rest) operands[operand] = this.inputs[rest.input];
      else operands[operand] = (given[operand] ?? null) as Operand | null;
    }
    for (const [operand, out] of outs) {
      if (out.role !== "out") continue;
      const shape = out.shape({
        value: (of) => valueAt(operands, of, name),
        weight: (of) => extentOf(operands[of] ?? null, `${name}.${of}`),
      });
      operands[operand] = onto ?? this.value(outs.length === 1 ? name : operand, shape, out.kind);
    }
    this.ops.push({ name, row, operands, attributes });
    if ("logits" in operands) this.logits = valueAt(operands, "logits", name);
    return valueAt(operands, outs[0]?.[0] ?? "", name);
  }

  private value(name: string, { rows, columns }: Shape, kind: Value["kind"] = "activation"): Value {
    return { id: this.values++, name, rows, columns, kind };
  }
}

function valueAt(operands: Readonly<Record<string, Operand | null>>, name: string, op: string): Value {
  const operand = operands[name] ?? null;
  if (operand === null || isParameter(operand)) throw new Error(`the op ${op} has no value ${name}`);
  return operand;
}

function extentOf(operand: Operand | null, place: string): { readonly rows: number; readonly columns: number } {
  if (operand === null) throw new Error(`${place} is missing`);
  if (isParameter(operand)) {
    const { rows, width } = rowsOf(operand);
    return { rows, columns: width };
  }
  const { rows, columns } = operand;
  if (typeof rows !== "number") throw new Error(`${place} has as many rows as a batch has ${rows}, and is no weight`);
  return { rows, columns };
}

export function isParameter(operand: Operand): operand is Parameter {
  return "canonical" in operand;
}

/**
 * The values with a place of their own that an op reads and writes in a pass, in the order of its operands.
 * @param role of those that are wanted: "out" for what it writes; absent: all.
 */
export function valuesOf(op: Op, output: Output, role?: OperandRole["role"]): readonly Value[] {
  return Object.entries(op.row.operands).flatMap(([name, operand]) => {
    if (role !== undefined && operand.role !== role) return [];
    if ("when" in operand && operand.when !== undefined && operand.when !== output) return [];
    const used = op.operands[name] ?? null;
    return used === null || isParameter(used) ? [] : [rootOf(used)];
  });
}

/** The parameters that an op reads, in the order of its operands. */
export function parametersOf(op: Op): readonly Parameter[] {
  return Object.values(op.operands)
    .filter((operand) => operand !== null)
    .filter(isParameter);
}
