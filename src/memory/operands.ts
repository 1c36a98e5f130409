import { at } from "../base/at.js";
import { DTYPE, SPACE, SYMBOL } from "../contract/constants.js";
import { BYTES_OF, type FloatType, type WireType } from "../base/dtype.js";
import { encodeProgram, type OperandWords, type Operands, type UnitOp } from "../ops/encode.js";
import { type Lowering, lower } from "../ops/lower.js";
import { type Parameter, rowsOf } from "../ops/parameter.js";
import type { Op, Slice } from "../ops/row.js";
import type { Inputs, Value } from "../ops/value.js";
import type { CachedAttention } from "./cache-layout.js";
import type { Plan } from "./plan.js";
import type { Unit } from "./units.js";

export const FLOAT_DTYPE: Readonly<Record<FloatType, number>> = { fp32: DTYPE.f32, fp16: DTYPE.f16, bf16: DTYPE.bf16 };
export const WIRE_DTYPE: Readonly<Record<WireType, number>> = { ...FLOAT_DTYPE, int8: DTYPE.i8, e4m3: DTYPE.e4m3 };

/** A unit's ops as a pass of the plan runs them. */
export function loweredOps(plan: Plan, unit: Unit, inputs: Inputs): readonly UnitOp[] {
  const pass = loweringOf(plan, unit, inputs);
  return unit.ops.flatMap(({ op, slice }) => lower(op, pass).map((lowered) => ({ op: lowered, slice })));
}

function loweringOf(plan: Plan, unit: Unit, inputs: Inputs): Lowering {
  const attentions = attentionsOf(plan, unit);
  const cached = (op: Op) => attentions.find((attention) => attention.op === op) ?? null;
  return { output: plan.options.output, inputs, cached };
}

function attentionsOf(plan: Plan, unit: Unit): readonly CachedAttention[] {
  return plan.cache?.units[unit.index]?.attentions ?? [];
}

/** The words of one unit's program, or of some of its ops. */
export function unitProgram(
  plan: Plan,
  unit: Unit,
  inputs: Inputs,
  ops: readonly UnitOp[] = loweredOps(plan, unit, inputs),
): Float64Array {
  const symbols = (Object.keys(SYMBOL) as (keyof typeof SYMBOL)[]).sort((a, b) => SYMBOL[a] - SYMBOL[b]);
  const maxima = symbols.map((symbol) => plan.options.capacity[symbol]);
  return encodeProgram(ops, new UnitOperands(plan, unit, inputs), maxima);
}

/** Bytes of each space that a unit's program is given. */
export function spaceBytes(plan: Plan): Float64Array {
  const sizes = new Float64Array(Object.keys(SPACE).length);
  // A unit that is read as it rests needs no scratch, and may be larger.
  sizes[SPACE.weights] = Math.max(at(plan.device.scratch, 0).bytes, ...plan.units.map((unit) => unit.wireBytes));
  sizes[SPACE.carried] = plan.places.carriedBytes;
  sizes[SPACE.workspace] = plan.places.workspaceBytes;
  sizes[SPACE.inputs] = plan.batch.microBatch.bytes;
  sizes[SPACE.results] = plan.places.resultBytes;
  sizes[SPACE.cache] = Math.max(0, ...(plan.cache?.units ?? []).map((piece) => piece?.bytes ?? 0));
  return sizes;
}

class UnitOperands implements Operands {
  private readonly inputOffsets: ReadonlyMap<number, number>;

  constructor(
    private readonly plan: Plan,
    private readonly unit: Unit,
    inputs: Inputs,
  ) {
    const tables = plan.batch.microBatch;
    const names = Object.keys(inputs) as (keyof Inputs)[];
    this.inputOffsets = new Map(names.map((name) => [inputs[name].id, tables[name]]));
  }

  value(value: Value, columns: { readonly start: number; readonly count: number } | null): OperandWords {
    if (value.kind === "cache") return this.cached(value);
    if (value.view !== undefined) return this.value(value.view.of, { start: value.view.first, count: value.columns });
    const rows = typeof value.rows === "number" ? value.rows : symbolRows(value.rows);
    const first = columns?.start ?? 0;
    const count = columns?.count ?? value.columns;
    if (value.kind === "input") {
      const offset = this.inputOffsets.get(value.id);
      if (offset === undefined) throw new Error(`the input ${value.name} has no place in a batch`);
      return [SPACE.inputs, offset, DTYPE.i32, rows, count, value.columns];
    }
    const place = this.plan.places.of.get(value.id);
    if (place === undefined) throw new Error(`the value ${value.name} has no place in the plan`);
    const offset = place.offset + first * BYTES_OF[place.type];
    return [SPACE[place.space], offset, FLOAT_DTYPE[place.type], rows, count, value.columns];
  }

  weight(parameter: Parameter): OperandWords {
    const { gathered, tensors, name } = this.unit;
    const { width } = rowsOf(parameter);
    if (gathered?.parameter === parameter) {
      const dtype = FLOAT_DTYPE[this.plan.options.compute];
      return [SPACE.weights, gathered.scratchOffset, dtype, symbolRows("tableRows"), width, width];
    }
    const tensor = tensors.find((t) => t.parameter === parameter);
    if (tensor === undefined) throw new Error(`${parameter.name} is not in the unit ${name}`);
    const [rows, columns] = parameter.shape.length < 2 ? [1, tensor.count] : [tensor.rowCount, width];
    return [SPACE.weights, tensor.scratchOffset, FLOAT_DTYPE[tensor.scratch], rows, columns, columns];
  }

  whole(parameter: Parameter): Slice {
    const gathered = this.unit.gathered?.parameter === parameter;
    const count = gathered ? this.plan.options.capacity.tableRows : rowsOf(parameter).rows;
    return { start: 0, count, first: true, last: true };
  }

  /** The keys, or the values, of an attention's rows in the unit's piece of the cache. */
  private cached(value: Value): OperandWords {
    const attention = attentionsOf(this.plan, this.unit).find(({ keys, values }) => keys === value || values === value);
    const { cache } = this.plan;
    if (attention === undefined || cache === null || value.view === undefined)
      throw new Error(`${value.name} has no place in the plan's cache`);
    const { of, first } = value.view;
    const offset = attention.offset + first * BYTES_OF[cache.type];
    return [SPACE.cache, offset, FLOAT_DTYPE[cache.type], cache.rows, value.columns, of.columns];
  }
}

function symbolRows(symbol: keyof typeof SYMBOL): number {
  return -1 - SYMBOL[symbol];
}
