import type { UnitOp } from "./encode.js";
import { isParameter } from "./record.js";
import { rowsOf } from "./parameter.js";
import type { RowSymbol } from "./value.js";

type Symbols = Readonly<Record<RowSymbol, number>>;

/** Multiplications and additions, and the size that decides how many of them a device does in a second. */
export interface Cost {
  readonly operations: number;
  readonly size: number;
}

const NOTHING: Cost = { operations: 0, size: 1 };

/** Of an op's product, 2 M N K for these rows of a batch, of size M; 0 operations for what is no product. */
export function productCost({ op, slice }: UnitOp, symbols: Symbols): Cost {
  const { product } = op.row;
  if (product === undefined) return NOTHING;
  const x = op.operands[product[0]] ?? null;
  const weight = op.operands[product[1]] ?? null;
  if (x === null || weight === null || isParameter(x)) return NOTHING;
  const rows = rowsIn(x.rows, symbols);
  const held = slice?.count ?? (isParameter(weight) ? rowsOf(weight).rows : weight.rows);
  return { operations: 2 * rows * rowsIn(held, symbols) * x.columns, size: rows };
}

/**
 * Of an attention: 4 for each pair of a row and a key that it sees, and each column; its size is the keys that a row
 * sees. As if all sequences were equally long, and had no cache.
 */
export function attentionCost({ op }: UnitOp, { rows, sequences }: Symbols): Cost {
  if (op.name !== "attention") return NOTHING;
  const q = op.operands["q"] ?? null;
  if (q === null || isParameter(q)) return NOTHING;
  const length = rows / Math.max(1, sequences);
  const window = Number(op.attributes["window" as keyof typeof op.attributes]);
  const seen = window === 0 ? (length + 1) / 2 : Math.min(window, (length + 1) / 2);
  return { operations: 4 * rows * seen * q.columns, size: seen };
}

/** A number of rows, for a batch of these. */
export function rowsIn(rows: RowSymbol | number, symbols: Symbols): number {
  return typeof rows === "number" ? rows : symbols[rows];
}
