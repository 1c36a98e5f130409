/** What a command of a pass moves and computes: what its time is predicted from, and compared with. */
import { at } from "../base/at.js";
import { BYTES_OF, storageType } from "../base/dtype.js";
import { loweredOps } from "../memory/operands.js";
import { carriedValueBytes } from "../memory/places.js";
import type { Plan } from "../memory/plan.js";
import type { GatheredTable } from "../memory/units.js";
import { attentionCost, productCost, rowsIn } from "../ops/cost.js";
import type { UnitOp } from "../ops/encode.js";
import { rowsOf } from "../ops/parameter.js";
import { isParameter } from "../ops/record.js";
import { type Inputs, type RowSymbol, rootOf } from "../ops/value.js";
import type { Work } from "../schedule/command.js";

export interface Amounts {
  /** Between host and device. */
  readonly bytes?: number;
  /** Between host and disk. */
  readonly diskBytes?: number;
  /** Within the device: what is read and written, each time that an op does. */
  readonly deviceBytes?: number;
  /** Of matrix products. */
  readonly flops?: number;
  /** Of attention, where sequences are equally long. */
  readonly attentionFlops?: number;
  /** Weights for which noise is drawn, once for each drawing. */
  readonly draws?: number;
}

/** How many rows of each kind a run of one micro-batch has. */
export type Symbols = Readonly<Record<RowSymbol, number>>;

/** What a pass is made for. */
export interface PassSizes {
  /** Directions of the updates that a visit applies. */
  readonly pending: number;
  readonly symbolsOf: (microBatch: number) => Symbols;
}

/** @param inputs of the recording that the plan is of. */
export function amountsOf(plan: Plan, inputs: Inputs, work: Work, sizes: PassSizes): Amounts {
  switch (work.kind) {
    case "read":
    case "write":
      return { diskBytes: at(plan.units, work.unit).wireBytes };
    case "upload":
    case "offload":
      return movedAmounts(plan, work, sizes);
    case "gather": {
      const gathered = plan.units.find((unit) => unit.gathered !== null)?.gathered ?? null;
      if (gathered === null) return {};
      return { bytes: elementsOf(gathered, sizes) * BYTES_OF[gathered.wire] };
    }
    case "prepare": {
      const { wireBytes, scratchBytes, tensors } = at(plan.units, work.unit);
      const elements = tensors.reduce((sum, t) => sum + t.count, 0);
      return {
        deviceBytes: wireBytes * (work.store ? 2 : 1) + work.signs.length * scratchBytes,
        draws: elements * drawingsOf(work, sizes),
      };
    }
    case "prepareGathered": {
      const { gathered } = at(plan.units, work.unit);
      if (gathered === null) return {};
      const elements = elementsOf(gathered, sizes);
      const made = work.signs.length * BYTES_OF[plan.options.compute];
      return {
        deviceBytes: elements * (BYTES_OF[gathered.wire] + made),
        draws: elements * drawingsOf(work, sizes),
      };
    }
    case "run": {
      const symbols = sizes.symbolsOf(work.microBatch);
      const ops = loweredOps(plan, at(plan.units, work.unit), inputs).map((op) => opAmounts(plan, op, symbols));
      const sum = (of: keyof OpAmounts) => ops.reduce((total, op) => total + op[of], 0);
      return { deviceBytes: sum("deviceBytes"), flops: sum("flops"), attentionFlops: sum("attentionFlops") };
    }
    default:
      return {};
  }
}

function movedAmounts(plan: Plan, work: Work & { readonly kind: "upload" | "offload" }, sizes: PassSizes): Amounts {
  if (work.what !== "carried") return work.what === "weights" ? { bytes: at(plan.units, work.unit).wireBytes } : {};
  const { brings, takes } = at(plan.places.carries, work.unit);
  const symbols = sizes.symbolsOf(work.microBatch);
  const values = work.kind === "upload" ? brings : takes;
  return { bytes: values.reduce((sum, value) => sum + carriedValueBytes(value, symbols), 0) };
}

function drawingsOf(work: { readonly direction: number | null; readonly update: boolean }, sizes: PassSizes): number {
  return (work.direction === null ? 0 : 1) + (work.update ? sizes.pending : 0);
}

/** Of the rows of a table that are gathered for a batch. */
function elementsOf({ width }: GatheredTable, { symbolsOf }: PassSizes): number {
  return symbolsOf(0).tableRows * width;
}

export type OpAmounts = Required<Pick<Amounts, "deviceBytes" | "flops" | "attentionFlops">>;

/** Of one op of a unit's program. */
export function opAmounts(plan: Plan, op: UnitOp, symbols: Symbols): OpAmounts {
  return {
    deviceBytes: operandBytes(plan, op, symbols),
    flops: productCost(op, symbols).operations,
    attentionFlops: attentionCost(op, symbols).operations,
  };
}

/** Bytes of an op's operands: what each of them has for these rows. */
function operandBytes(plan: Plan, { op, slice }: UnitOp, symbols: Symbols): number {
  const { operands, row } = op;
  const bytesOf = (name: string) => {
    const operand = operands[name] ?? null;
    if (operand === null) return 0;
    if (isParameter(operand)) {
      const { rows, width } = rowsOf(operand);
      return (slice?.count ?? rows) * width * BYTES_OF[storageType(operand.shape, plan.options.compute)];
    }
    const columns = slice !== null && row.cut?.columns?.includes(name) === true ? slice.count : operand.columns;
    const type = plan.places.of.get(rootOf(operand).id)?.type ?? "fp32";
    return rowsIn(operand.rows, symbols) * columns * BYTES_OF[type];
  };
  // Of what rows are taken from, only those are read that become a row of the result.
  if (row.gathers === true || row.like !== undefined) return 2 * bytesOf("out");
  return Object.keys(operands).reduce((sum, name) => sum + bytesOf(name), 0);
}
