/**
 * `sm90_store` of cuda/ops/linear_sm90_store.cuh, said again for the words of a program: how Hopper's matrix product
 * stores what it makes. test/fixtures/linear-stores.txt holds both to the same answers.
 */
const BYTES = { f32: 4, f16: 2, bf16: 2 };

/** An operand is {dtype, rows, offset, stride}, offset in bytes and stride in elements; null where there is none. */
function aligned(operand, bytes) {
  if (operand === null) return true;
  const pitch = operand.rows > 1 ? operand.stride * BYTES[operand.dtype] : 0;
  return operand.offset % bytes === 0 && pitch % bytes === 0;
}

/** "pairs", "chunks" or, the slow one, "general". `activation` is a name of the op's table; x is of 16 bits. */
export function linearStore({ out, x, bias, residual, activation, scale, inner }) {
  const pairs = (operand) => operand === null || aligned(operand, 2 * BYTES[operand.dtype]);
  if (scale !== 1 || inner) return "general";
  if (activation !== "none" && activation !== "relu") return "general";
  if (bias !== null && bias.dtype !== "f32") return "general";
  if (residual !== null && residual.dtype !== out.dtype) return "general";
  if (!pairs(bias) || !pairs(residual)) return "general";
  if (out.dtype === "f32") return pairs(out) ? "pairs" : "general";
  return out.dtype === x.dtype && aligned(out, 16) ? "chunks" : "general";
}

/** Columns of a product that are stored that way: whole batches of 64. */
export const BATCH_COLUMNS = 64;
