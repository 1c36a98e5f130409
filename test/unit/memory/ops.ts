import { isParameter } from "../../../src/ops/record.js";
import type { Op } from "../../../src/ops/row.js";
import type { Parameter } from "../../../src/ops/parameter.js";
import type { Value } from "../../../src/ops/value.js";

/** An operand of an op that is a value; throws where it is none. */
export function operandValue(op: Op, name: string): Value {
  const operand = op.operands[name] ?? null;
  if (operand === null || isParameter(operand)) throw new Error(`${op.name} has no value ${name}`);
  return operand;
}

/** The same for one that may be left out. */
export function optionalValue(op: Op, name: string): Value | null {
  return op.operands[name] === null ? null : operandValue(op, name);
}

export function parameterOf(op: Op, name: string): Parameter {
  const operand = op.operands[name] ?? null;
  if (operand === null || !isParameter(operand)) throw new Error(`${op.name} has no parameter ${name}`);
  return operand;
}
