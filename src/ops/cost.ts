import type { UnitOp } from "./encode.js";
import { isParameter } from "./record.js";
import { rowsOf } from "./parameter.js";
import type { RowSymbol } from "./value.js";

/** Multiplications and additions of an op's product, 2 M N K for these rows of a batch; 0 for what is no product. */
export function productOperations({ op, slice }: UnitOp, symbols: Readonly<Record<RowSymbol, number>>): number {
  const { product } = op.row;
  if (product === undefined) return 0;
  const x = op.operands[product[0]] ?? null;
  const weight = op.operands[product[1]] ?? null;
  if (x === null || weight === null || isParameter(x)) return 0;
  const rows = typeof x.rows === "number" ? x.rows : symbols[x.rows];
  const held = slice?.count ?? (isParameter(weight) ? rowsOf(weight).rows : weight.rows);
  return 2 * rows * (typeof held === "number" ? held : symbols[held]) * x.columns;
}

/**
 * Those of an attention: 4 for each pair of a row and a key that it sees, and each column; as if all sequences were
 * equally long, and had no cache.
 */
export function attentionOperations({ op }: UnitOp, { rows, sequences }: Readonly<Record<RowSymbol, number>>): number {
  if (op.name !== "attention") return 0;
  const q = op.operands["q"] ?? null;
  if (q === null || isParameter(q)) return 0;
  const length = rows / Math.max(1, sequences);
  const window = Number(op.attributes["window" as keyof typeof op.attributes]);
  const seen = window === 0 ? (length + 1) / 2 : Math.min(window, (length + 1) / 2);
  return 4 * rows * seen * q.columns;
}
