/** Storage types of weights and activations, by the names that users write. */
export type FloatType = "fp32" | "fp16" | "bf16";

/** Of weights at rest in blocks, each with a scale of its own (`zo2_segment` in `contract/zo2.h`). */
export type BlockType = "int8" | "e4m3";

/** Of weights at rest and in transfer. */
export type WireType = FloatType | BlockType;

/** Of one element; the scales of blocks come on top: see `storedBytes`. */
export const BYTES_OF: Readonly<Record<WireType, number>> = { fp32: 4, fp16: 2, bf16: 2, int8: 1, e4m3: 1 };

/** Elements of a block, which lies in one row; the last of a row may have fewer. */
export const BLOCK = 64;

/** As `torch_dtype` of a `config.json` names them. */
export const TORCH_DTYPE: Readonly<Record<FloatType, string>> = { fp32: "float32", fp16: "float16", bf16: "bfloat16" };
export const FLOAT_TYPES = ["fp32", "fp16", "bf16"] as const satisfies readonly FloatType[];

/** One-dimensional parameters are fp32 on the wire and in scratch: in bf16 the spacing at 1.0 exceeds eps. */
export function storageType<T extends WireType>(shape: readonly number[], matrices: T): T | "fp32" {
  return shape.length < 2 ? "fp32" : matrices;
}

export const WIRE_TYPES = [...FLOAT_TYPES, "int8", "e4m3"] as const satisfies readonly WireType[];

export function isBlocked(type: WireType): type is BlockType {
  return type === "int8" || type === "e4m3";
}

/** The narrowest float that holds every value of a wire dtype. */
export function floatOf(type: WireType): FloatType {
  return isBlocked(type) ? "bf16" : type;
}

/** Bytes of the scales of one row, one for each block. */
export function scaleBytes(width: number): number {
  return Math.ceil(width / BLOCK);
}

/** Where the scales of rows begin, in bytes from their first element; 0 where they have none. */
export function scaleOffsetOf(type: WireType, rows: number, width: number): number {
  return isBlocked(type) ? align(rows * width) : 0;
}

/** Bytes of rows at rest: their elements, and behind them the scales of their blocks, each from an aligned place on. */
export function storedBytes(type: WireType, rows: number, width: number): number {
  const elements = align(rows * width * BYTES_OF[type]);
  return isBlocked(type) ? elements + align(rows * scaleBytes(width)) : elements;
}

/** Every place that a kernel reads vectors from starts at a multiple of this many bytes. */
export const PLACE_ALIGNMENT = 64;

export function align(bytes: number, to: number = PLACE_ALIGNMENT): number {
  return Math.ceil(bytes / to) * to;
}
