/** What comes back from a pass, and what goes there: numbers in host memory. */
import type { WireType } from "../base/dtype.js";
import { COEFFICIENT_BYTES, LOSS_BYTES, STICKY } from "../contract/constants.js";
import type { ReadbackRegions } from "../memory/plan.js";
import { at } from "../base/at.js";
import { StepError, type StepOutcome } from "../method/index.js";
import type { Batch } from "../memory/batch-tables.js";
import { bytesAt, type Place, type Placed, putBytes } from "./place.js";

/** What came back from a pass. */
export type Readback = Placed<ReadbackRegions>;

/** Puts `zo2_coefficient`s into host memory. */
export function writeCoefficients(memory: Place, coefficients: readonly number[]): void {
  const view = new DataView(new ArrayBuffer(coefficients.length * COEFFICIENT_BYTES));
  coefficients.forEach((coefficient, d) => {
    view.setFloat32(d * COEFFICIENT_BYTES, coefficient, true);
    view.setUint32(d * COEFFICIENT_BYTES + 4, Number.isFinite(coefficient) ? 1 : 0, true);
  });
  putBytes(memory, view.buffer);
}

export function readOutcome(
  { losses, coefficients }: Readback,
  counts: { readonly probes: number; readonly directions: number },
): StepOutcome {
  const l = new DataView(bytesAt(losses));
  const c = new DataView(bytesAt(coefficients));
  return {
    losses: Array.from({ length: counts.probes }, (_, p) => l.getFloat64(p * LOSS_BYTES, true)),
    coefficients: Array.from({ length: counts.directions }, (_, d) => c.getFloat32(d * COEFFICIENT_BYTES, true)),
  };
}

/**
 * The results of one probe, by micro-batch. @param countOf fp32 values that the head leaves behind for a micro-batch.
 */
export function readResults(
  { results }: Readback,
  batch: Batch,
  probe: number,
  countOf: (micro: Batch[number]) => number,
): Float32Array[] {
  return batch.map((micro, m) => {
    const region = at(results, probe * batch.length + m);
    return new Float32Array(bytesAt(region, countOf(micro) * Float32Array.BYTES_PER_ELEMENT));
  });
}

/** @throws StepError ZO2_ERR_NOT_FINITE naming the step whose update went wrong */
export function checkSticky({ sticky }: Readback, wire: WireType): void {
  const view = new DataView(bytesAt(sticky));
  const flags = view.getUint32(0, true);
  if (flags === 0) return;
  const step = view.getUint32(4, true);
  throw new StepError(
    step,
    (flags & STICKY.overflow) !== 0
      ? `: an updated weight does not fit in ${wire}; lower the learning rate, or use the wire dtype fp32 or bf16`
      : ": the projected gradient is not a finite number; lower the learning rate or eps, and check the batch of " +
          "that step",
  );
}
