/** What a command of a pass moves and computes: what its time is predicted from, and compared with. */
import { at } from "../base/at.js";
import { loweredOps } from "../memory/operands.js";
import type { Plan } from "../memory/plan.js";
import { attentionOperations, productOperations } from "../ops/cost.js";
import type { UnitOp } from "../ops/encode.js";
import type { Inputs, RowSymbol } from "../ops/value.js";
import type { Work } from "../schedule/command.js";

export interface Amounts {
  /** Between host and device. */
  readonly bytes?: number;
  /** Between host and disk. */
  readonly diskBytes?: number;
  /** Within the device. */
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
  /** Updates that a visit applies. */
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
      return work.what === "weights" ? { bytes: at(plan.units, work.unit).wireBytes } : {};
    case "prepare": {
      const { wireBytes, scratchBytes, tensors } = at(plan.units, work.unit);
      const elements = tensors.reduce((sum, t) => sum + t.count, 0);
      return {
        deviceBytes: wireBytes * (work.store ? 2 : 1) + work.signs.length * scratchBytes,
        draws: elements * ((work.direction === null ? 0 : 1) + (work.update ? sizes.pending : 0)),
      };
    }
    case "run": {
      const unit = at(plan.units, work.unit);
      const symbols = sizes.symbolsOf(work.microBatch);
      const ops = loweredOps(plan, unit, inputs).map((op) => operationsOf(op, symbols));
      const sum = (of: "flops" | "attentionFlops") => ops.reduce((total, op) => total + op[of], 0);
      return { deviceBytes: unit.scratchBytes, flops: sum("flops"), attentionFlops: sum("attentionFlops") };
    }
    default:
      return {};
  }
}

/** Multiplications and additions of one op. */
export function operationsOf(
  op: UnitOp,
  symbols: Symbols,
): { readonly flops: number; readonly attentionFlops: number } {
  return { flops: productOperations(op, symbols), attentionFlops: attentionOperations(op, symbols) };
}
