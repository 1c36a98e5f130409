import { ACTIVATION, DTYPE, OP, SPACE, SYMBOL, TILE } from "../contract/constants.js";
import { rowsOf, type Parameter } from "./parameter.js";
import type { Inputs, Op, Value } from "./record.js";
import { align, BYTES_OF, type FloatType } from "../base/dtype.js";
import type { Plan } from "../memory/plan.js";
import type { Unit, UnitOp } from "../memory/units.js";

const PROGRAM_VERSION = 3;
const ABSENT = -1;

export const FLOAT_DTYPE: Readonly<Record<FloatType, number>> = { fp32: DTYPE.f32, fp16: DTYPE.f16, bf16: DTYPE.bf16 };

/** The words of one unit's program ("programs" in `contract/zo2.h`). */
export function encodeProgram(plan: Plan, unit: Unit, inputs: Inputs): Float64Array {
  const program = new ProgramWords(plan, unit, inputs);
  for (const op of unit.ops) program.add(op);
  return program.finish();
}

/** Bytes of each space that a unit's program is given. */
export function spaceBytes(plan: Plan): Float64Array {
  const sizes = new Float64Array(Object.keys(SPACE).length);
  sizes[SPACE.weights] = plan.device.plus.bytes;
  sizes[SPACE.carried] = plan.places.carriedBytes;
  sizes[SPACE.workspace] = plan.places.workspaceBytes;
  sizes[SPACE.inputs] = plan.batch.microBatch.bytes;
  sizes[SPACE.results] = plan.places.resultBytes;
  sizes[SPACE.cache] = Math.max(0, ...(plan.cache?.units ?? []).map((u) => u.bytes));
  return sizes;
}

class ProgramWords {
  private readonly operands: number[][] = [];
  private readonly operandIndex = new Map<string, number>();
  private readonly ops: number[][] = [];
  private readonly inputOffsets: ReadonlyMap<number, number>;

  constructor(
    private readonly plan: Plan,
    private readonly unit: Unit,
    private readonly inputs: Inputs,
  ) {
    const tables = plan.batch.microBatch;
    this.inputOffsets = new Map([
      [inputs.tokens.id, tables.tokens],
      [inputs.positions.id, tables.positions],
      [inputs.sequences.id, tables.sequences],
      [inputs.headRows.id, tables.headRows],
      [inputs.targets.id, tables.targets],
      [inputs.cacheRows.id, tables.cacheRows],
    ]);
  }

  add({ op, rows }: UnitOp): void {
    switch (op.kind) {
      case "embed": {
        const gathered = op.table === this.unit.gathered;
        const table = gathered ? this.gatheredTable(op.table) : this.weight(op.table);
        const start = rows?.start ?? 0;
        const count = gathered ? this.plan.options.capacity.tableRows : (rows?.count ?? rowsOf(op.table).rows);
        return this.push(OP.embed, [
          this.value(op.out),
          table,
          this.value(op.index),
          start,
          count,
          op.accumulate ? 1 : 0,
        ]);
      }
      case "linear": {
        // A slice of the weight's rows makes the same slice of the output's columns.
        const columns = rows === null ? undefined : { start: rows.start, count: rows.count };
        const residual = op.residual === null ? ABSENT : this.value(op.residual, columns);
        const weight = op.turned === null ? this.weight(op.weight) : this.value(op.turned);
        if (op.turned !== null) this.push(OP.transpose, [weight, this.weight(op.weight)]);
        return this.push(OP.linear, [
          this.value(op.out, columns),
          this.value(op.x),
          weight,
          this.bias(op.bias),
          residual,
          ACTIVATION[op.activation],
        ]);
      }
      case "layerNorm":
        return this.push(OP.layerNorm, [
          this.value(op.out),
          this.value(op.x),
          this.weight(op.gain),
          this.weight(op.bias),
          op.epsilon,
        ]);
      case "rmsNorm":
        return this.push(OP.rmsNorm, [this.value(op.out), this.value(op.x), this.weight(op.gain), op.epsilon]);
      case "rope": {
        const { headSize, frequencies, scaling } = op.rotary;
        const words = [headSize, 2 * frequencies.length, scaling, frequencies.length, ...frequencies];
        return this.push(OP.rope, [this.value(op.out), this.value(op.x), this.value(op.positions), ...words]);
      }
      case "gatedActivation":
        return this.push(OP.gatedActivation, [
          this.value(op.out),
          this.value(op.gate),
          this.value(op.up),
          ACTIVATION[op.activation],
        ]);
      case "attention": {
        const [k, v] = this.keysAndValues(op);
        return this.push(OP.attention, [
          this.value(op.out),
          this.value(op.q),
          k,
          v,
          this.value(op.sequences),
          op.heads,
          op.kvHeads,
          op.scale,
          op.window,
        ]);
      }
      case "gatherRows":
        return this.push(OP.gatherRows, [this.value(op.out), this.value(op.x), this.value(op.index)]);
      case "head": {
        if (this.plan.options.output === "logits") {
          const columns = rows === null ? undefined : { start: rows.start, count: rows.count };
          const logits = this.value(op.logits, columns);
          return this.push(OP.linear, [
            logits,
            this.value(op.x),
            this.weight(op.weight),
            this.bias(op.bias),
            ABSENT,
            ACTIVATION.none,
          ]);
        }
        const flags = ((rows?.first ?? true) ? TILE.first : 0) | ((rows?.last ?? true) ? TILE.last : 0);
        return this.push(OP.crossEntropy, [
          this.value(op.logprob),
          this.value(op.state),
          this.value(op.x),
          this.weight(op.weight),
          this.value(op.targets),
          rows?.start ?? 0,
          flags,
        ]);
      }
    }
  }

  finish(): Float64Array {
    const symbols = (Object.keys(SYMBOL) as (keyof typeof SYMBOL)[]).sort((a, b) => SYMBOL[a] - SYMBOL[b]);
    const maxima = symbols.map((s) => this.plan.options.capacity[s]);
    return Float64Array.from([
      PROGRAM_VERSION,
      this.operands.length,
      this.ops.length,
      maxima.length,
      ...maxima,
      ...this.operands.flat(),
      ...this.ops.flat(),
    ]);
  }

  private push(opcode: number, words: number[]): void {
    this.ops.push([opcode, words.length, ...words]);
  }

  /** The operands that attention reads keys and values from; with a cache, the rows' own are put there first. */
  private keysAndValues(op: Extract<Op, { kind: "attention" }>): [number, number] {
    const { cache } = this.plan;
    const place = cache?.units.find((u) => u.unit === this.unit.index)?.attentions.find((a) => a.op === op);
    if (cache === null || place === undefined) return [this.value(op.k), this.value(op.v)];
    const stride = op.k.columns + op.v.columns;
    const columns = (offset: number, count: number) =>
      this.operand([SPACE.cache, offset, FLOAT_DTYPE[cache.type], cache.rows, count, stride]);
    const k = columns(place.offset, op.k.columns);
    const v = columns(place.offset + op.k.columns * BYTES_OF[cache.type], op.v.columns);
    const rows = this.value(this.inputs.cacheRows);
    this.push(OP.scatterRows, [k, this.value(op.k), rows]);
    this.push(OP.scatterRows, [v, this.value(op.v), rows]);
    return [k, v];
  }

  private bias(bias: Parameter | null): number {
    return bias === null ? ABSENT : this.weight(bias);
  }

  private value(value: Value, columns?: { start: number; count: number }): number {
    if (value.view !== undefined) return this.value(value.view.of, { start: value.view.first, count: value.columns });
    const rows = typeof value.rows === "number" ? value.rows : -1 - SYMBOL[value.rows];
    const first = columns?.start ?? 0;
    const count = columns?.count ?? value.columns;
    if (value.kind === "input") {
      const offset = this.inputOffsets.get(value.id) ?? 0;
      return this.operand([SPACE.inputs, offset, DTYPE.i32, rows, count, value.columns]);
    }
    const place = this.plan.places.of.get(value.id);
    if (place === undefined) throw new Error(`the value ${value.name} has no place in the plan`);
    return this.operand([
      SPACE[place.space],
      place.offset + first * BYTES_OF[place.type],
      FLOAT_DTYPE[place.type],
      rows,
      count,
      value.columns,
    ]);
  }

  private weight(parameter: Parameter): number {
    const tensor = this.unit.tensors.find((t) => t.parameter === parameter);
    if (tensor === undefined) throw new Error(`${parameter.name} is not in the unit ${this.unit.name}`);
    const { width } = rowsOf(parameter);
    const [rows, columns] = parameter.shape.length < 2 ? [1, tensor.count] : [tensor.rowCount, width];
    return this.operand([SPACE.weights, tensor.scratchOffset, FLOAT_DTYPE[tensor.scratch], rows, columns, columns]);
  }

  private gatheredTable(parameter: Parameter): number {
    const { width } = rowsOf(parameter);
    return this.operand([
      SPACE.weights,
      align(this.unit.scratchBytes),
      FLOAT_DTYPE[this.plan.options.compute],
      -1 - SYMBOL.tableRows,
      width,
      width,
    ]);
  }

  private operand(words: number[]): number {
    const key = words.join(",");
    let index = this.operandIndex.get(key);
    if (index === undefined) {
      index = this.operands.push(words) - 1;
      this.operandIndex.set(key, index);
    }
    return index;
  }
}
