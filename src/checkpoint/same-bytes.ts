import type { Checkpoint } from "./checkpoint.js";
import type { TensorEntry } from "./safetensors.js";

/** Bytes of each tensor that are in memory at once. */
const PIECE_BYTES = 4 * 2 ** 20;

/** Equal for tensors that are the same bytes of one file, and for nothing else but empty ones. */
export function placeOf({ file, offset, dtype, shape, strides }: TensorEntry): string {
  return JSON.stringify([file, offset, dtype, shape, strides]);
}

/** Whether two tensors have one dtype, one shape and the same bytes. Nothing is read where the header tells. */
export async function sameBytes(
  checkpoint: Pick<Checkpoint, "read">,
  a: TensorEntry,
  b: TensorEntry,
): Promise<boolean> {
  if (placeOf(a) === placeOf(b)) return true;
  if (a.dtype !== b.dtype || a.shape.join() !== b.shape.join()) return false;
  const piece = Math.min(PIECE_BYTES, a.bytes);
  const [left, right] = [Buffer.alloc(piece), Buffer.alloc(piece)];
  for (let offset = 0; offset < a.bytes; offset += piece) {
    const count = Math.min(piece, a.bytes - offset);
    const parts = [left.subarray(0, count), right.subarray(0, count)] as const;
    await Promise.all([checkpoint.read(a, offset, parts[0]), checkpoint.read(b, offset, parts[1])]);
    if (!parts[0].equals(parts[1])) return false;
  }
  return true;
}
