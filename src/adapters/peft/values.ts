/** Tensors of an adapter's file: their bytes, and their values as fp32. */
import type { StoredValues } from "../contents.js";
import { broken, type OpenTensors, type TensorDtype, type TensorEntry } from "../../checkpoint/index.js";

/** Values of one element from its bits. */
const VALUE_OF: Partial<Record<TensorDtype, { readonly bytes: 2 | 4; readonly of: (bits: number) => number }>> = {
  F32: { bytes: 4, of: fp32 },
  BF16: { bytes: 2, of: (bits) => fp32(bits * 2 ** 16) },
  F16: { bytes: 2, of: fp16 },
};

const word = new DataView(new ArrayBuffer(4));

function fp32(bits: number): number {
  word.setUint32(0, bits);
  return word.getFloat32(0);
}

function fp16(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  const sign = bits >= 2 ** 15 ? -1 : 1;
  if (exponent === 31) return mantissa === 0 ? sign * Infinity : Number.NaN;
  return sign * (exponent === 0 ? mantissa * 2 ** -24 : (1 + mantissa / 1024) * 2 ** (exponent - 15));
}

/** The values of a tensor, row-major; every one of them is a number of fp32. */
export function valuesOf({ dtype, bytes }: StoredValues): Float32Array {
  const kind = VALUE_OF[dtype];
  if (kind === undefined) throw new Error(`values of ${dtype} are not read`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float32Array.from({ length: bytes.byteLength / kind.bytes }, (_, i) =>
    kind.of(kind.bytes === 4 ? view.getUint32(4 * i, true) : view.getUint16(2 * i, true)),
  );
}

/**
 * Reads a tensor that has to have this shape.
 * @param why what asks for the shape. @throws Zo2Error ZO2_ERR_CHECKPOINT also for values that are not finite
 */
export async function readValues(
  file: OpenTensors,
  entry: TensorEntry,
  shape: readonly number[],
  why: string,
): Promise<StoredValues> {
  const fail = (what: string) => broken(file.dir, `tensor ${JSON.stringify(entry.name)} ${what}`);
  if (VALUE_OF[entry.dtype] === undefined)
    throw fail(`is stored as ${entry.dtype}; ${Object.keys(VALUE_OF).join(", ")} can be read`);
  if (entry.shape.join() !== shape.join())
    throw fail(`has the shape [${entry.shape.join(", ")}]; ${why} asks for [${shape.join(", ")}]`);
  const bytes = new Uint8Array(entry.bytes);
  await file.read(entry, 0, bytes);
  const values: StoredValues = { dtype: entry.dtype, shape, bytes };
  const bad = valuesOf(values).findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw fail(`has an element ${bad} that is not a finite number; get the file again`);
  return values;
}
