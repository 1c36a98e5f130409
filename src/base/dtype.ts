/** Storage types of weights and activations, by the names that users write. */
export type FloatType = "fp32" | "fp16" | "bf16";

export const BYTES_OF: Readonly<Record<FloatType, number>> = { fp32: 4, fp16: 2, bf16: 2 };

/** As `torch_dtype` of a `config.json` names them. */
export const TORCH_DTYPE: Readonly<Record<FloatType, string>> = { fp32: "float32", fp16: "float16", bf16: "bfloat16" };
export const FLOAT_TYPES = Object.keys(TORCH_DTYPE) as readonly FloatType[];

/** One-dimensional parameters are fp32 on the wire and in scratch: in bf16 the spacing at 1.0 exceeds eps. */
export function storageType(shape: readonly number[], matrices: FloatType): FloatType {
  return shape.length < 2 ? "fp32" : matrices;
}

/** Every place that a kernel reads vectors from starts at a multiple of this many bytes. */
export const PLACE_ALIGNMENT = 64;

export function align(bytes: number, to: number = PLACE_ALIGNMENT): number {
  return Math.ceil(bytes / to) * to;
}
