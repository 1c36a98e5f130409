/** What a LoRA adds to the weight that it changes: W + scale B A, summed in fp64. */
import type { LinearLayer } from "../lora.js";

/** The change of one layer's weight, row-major, with the base's rows and columns: scale x left right. */
export interface WeightChange {
  readonly rank: number;
  readonly scale: number;
  /** [rows, rank] */
  readonly left: Float32Array;
  /** [rank, columns] */
  readonly right: Float32Array;
}

/**
 * @param a [rank, inputs]
 * @param b [outputs, rank]
 */
export function changeOf(
  { transposed, inputs, outputs }: LinearLayer,
  { rank, scale }: { readonly rank: number; readonly scale: number },
  { a, b }: { readonly a: Float32Array; readonly b: Float32Array },
): WeightChange {
  if (!transposed) return { rank, scale, left: b, right: a };
  return { rank, scale, left: transpose(a, rank, inputs), right: transpose(b, outputs, rank) };
}

/**
 * Adds the change to rows of the weight, from row `first` on: each element is summed in fp64, and rounded once.
 * @param isExact whether fp32 is what they rest in. Else a sum that fp32 does not hold becomes the one of both
 *   neighbours whose last bit is set, so that the rounding to a narrower dtype behind it comes out as if it were the
 *   first.
 */
export function addChange(
  rows: Float32Array,
  first: number,
  columns: number,
  change: WeightChange,
  isExact: boolean,
): void {
  const { rank, scale, left, right } = change;
  const sum = new Float64Array(columns);
  for (let row = 0; row * columns < rows.length; row++) {
    sum.fill(0);
    for (let k = 0; k < rank; k++) {
      const factor = left[(first + row) * rank + k] ?? 0;
      const from = k * columns;
      for (let j = 0; j < columns; j++) sum[j] = (sum[j] ?? 0) + factor * (right[from + j] ?? 0);
    }
    const start = row * columns;
    for (let j = 0; j < columns; j++) {
      const value = (rows[start + j] ?? 0) + scale * (sum[j] ?? 0);
      rows[start + j] = isExact ? value : roundedToOdd(value);
    }
  }
}

const bits = new Uint32Array(1);
const asFp32 = new Float32Array(bits.buffer);

/** The neighbour of `value` in fp32 whose last bit is set; `value` itself where fp32 has it. */
function roundedToOdd(value: number): number {
  asFp32[0] = value;
  const near = asFp32[0];
  if (near === value || !Number.isFinite(value)) return near;
  if (Math.abs(near) > Math.abs(value)) bits[0] = (bits[0] ?? 0) - 1;
  bits[0] = (bits[0] ?? 0) | 1;
  return asFp32[0];
}

function transpose(matrix: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(matrix.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = matrix[i * columns + j] ?? 0;
  return out;
}
