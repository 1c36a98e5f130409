/**
 * The dtypes in which a checkpoint's weights may be stored, and how those that no kernel reads become fp32 on the way.
 */
import { at } from "../base/at.js";
import { BYTES_OF, type FloatType } from "../base/dtype.js";
import { DTYPE_BITS, type TensorDtype } from "./safetensors.js";

export interface FloatSource {
  /** What is handed on: the stored bytes themselves, or fp32. */
  readonly type: FloatType;
  /** The narrowest wire dtype in which no value changes; for fp64, which has none, fp32. */
  readonly stored: FloatType;
  /** Of one stored element. */
  readonly bytes: number;
  /** Writes as many fp32 values into `to` as `from` has elements. Undefined where `type` is how they are stored. */
  readonly widen?: (from: Uint8Array, to: Float32Array) => void;
}

/**
 * Every value of an 8-bit float with this many exponent and mantissa bits. Without infinities (E4M3FN), the one NaN of
 * each sign has all bits set, and the rest of the last binade are numbers.
 */
function fp8Table(exponentBits: number, mantissaBits: number, infinities: boolean): Float32Array {
  const bias = 2 ** (exponentBits - 1) - 1;
  const last = 2 ** exponentBits - 1;
  const steps = 2 ** mantissaBits;
  return Float32Array.from({ length: 256 }, (_, bits) => {
    const sign = bits >= 128 ? -1 : 1;
    const exponent = (bits >> mantissaBits) & last;
    const mantissa = bits % steps;
    if (exponent === last && infinities) return mantissa === 0 ? sign * Infinity : Number.NaN;
    if (exponent === last && mantissa === steps - 1) return Number.NaN;
    const value =
      exponent === 0 ? (mantissa / steps) * 2 ** (1 - bias) : (1 + mantissa / steps) * 2 ** (exponent - bias);
    return sign * value;
  });
}

function fromTable(table: Float32Array): (from: Uint8Array, to: Float32Array) => void {
  return (from, to) => {
    for (let i = 0; i < from.length; i++) to[i] = at(table, at(from, i));
  };
}

/** Rounds to the nearest fp32; what does not fit becomes an infinity, which loading refuses. */
function fromFloat64(from: Uint8Array, to: Float32Array): void {
  const view = new DataView(from.buffer, from.byteOffset, from.byteLength);
  for (let i = 0; i * 8 < from.byteLength; i++) to[i] = view.getFloat64(i * 8, true);
}

function asStored(type: FloatType): FloatSource {
  return { type, stored: type, bytes: BYTES_OF[type] };
}

function widened(
  dtype: TensorDtype,
  stored: FloatType,
  widen: (from: Uint8Array, to: Float32Array) => void,
): FloatSource {
  return { type: "fp32", stored, bytes: DTYPE_BITS[dtype] / 8, widen };
}

/** By the dtype of a tensor; what is missing cannot be a weight. */
export const FLOAT_SOURCES: Partial<Record<TensorDtype, FloatSource>> = {
  F32: asStored("fp32"),
  F16: asStored("fp16"),
  BF16: asStored("bf16"),
  F64: widened("F64", "fp32", fromFloat64),
  F8_E4M3: widened("F8_E4M3", "bf16", fromTable(fp8Table(4, 3, false))),
  F8_E5M2: widened("F8_E5M2", "bf16", fromTable(fp8Table(5, 2, true))),
};
