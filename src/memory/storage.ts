import type { FloatType } from "../base/dtype.js";
import { isParameter } from "../ops/record.js";
import type { Op } from "../ops/row.js";
import type { Value } from "../ops/value.js";

/**
 * Storage type of each value that an op makes, by its id: what the rows of the table of ops say (`OpRow.sum`, `like`).
 */
export function storageTypes(ops: readonly Op[], compute: FloatType): ReadonlyMap<number, FloatType> {
  const types = new Map<number, FloatType>();
  for (const op of ops) {
    const sum = (op.row.sum ?? []).map((name) => operandValue(op, name));
    if (sum.includes(null)) continue;
    const outs = op.row.inner !== undefined && op.attributes[op.row.inner] === true ? outsOf(op) : [];
    for (const value of sum) if (value !== null && !outs.includes(value)) types.set(value.id, "fp32");
  }
  for (const op of ops) {
    const like = op.row.like === undefined ? null : operandValue(op, op.row.like);
    for (const out of outsOf(op)) {
      if (!types.has(out.id)) types.set(out.id, like === null ? compute : (types.get(like.id) ?? compute));
    }
  }
  return types;
}

function outsOf(op: Op): Value[] {
  return Object.entries(op.row.operands).flatMap(([name, { role }]) => {
    const value = role === "out" ? operandValue(op, name) : null;
    return value === null ? [] : [value];
  });
}

function operandValue(op: Op, name: string): Value | null {
  const operand = op.operands[name] ?? null;
  return operand === null || isParameter(operand) ? null : operand;
}
