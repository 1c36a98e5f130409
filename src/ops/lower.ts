/**
 * What a pass makes of a recorded op: the head leaves logits or log-probabilities, attention works over a cache or not.
 */
import type { Op, Operand } from "./row.js";
import { OPS, type OpName } from "./table.js";
import type { Inputs, Output, Value } from "./value.js";

/** What a pass decides. */
export interface Lowering {
  readonly output: Output;
  readonly inputs: Inputs;
  /** Where an attention's keys and values lie from pass to pass; null where it has only those of the pass itself. */
  cached(attention: Op): { readonly keys: Value; readonly values: Value } | null;
}

/** The ops with a number in contract/zo2.h that stand for a recorded one, in order. */
export function lower(op: Op, pass: Lowering): readonly Op[] {
  switch (op.name) {
    case "head":
      return [lowerHead(op, pass.output)];
    case "attention":
      return lowerAttention(op, pass);
    default:
      return [op];
  }
}

function lowerHead({ operands }: Op, output: Output): Op {
  const {
    x = null,
    weight = null,
    bias = null,
    logits = null,
    logprob = null,
    state = null,
    targets = null,
  } = operands;
  return output === "logits"
    ? make("linear", { out: logits, x, weight, bias, residual: null }, { activation: "none", scale: 1, inner: false })
    : // The streamed cross entropy has no bias: a head that has one predicts labels or spans, from logits.
      make("crossEntropy", { logprob, state, x, weight, targets });
}

/** With a cache, the keys and values of the pass are put there first, and attention reads them there. */
function lowerAttention(op: Op, pass: Lowering): Op[] {
  const cached = pass.cached(op);
  if (cached === null) return [op];
  const { keys, values } = cached;
  const { k = null, v = null } = op.operands;
  const index = pass.inputs.cacheRows;
  return [
    make("scatterRows", { out: keys, x: k, index }),
    make("scatterRows", { out: values, x: v, index }),
    { ...op, operands: { ...op.operands, k: keys, v: values } },
  ];
}

function make(
  name: OpName,
  operands: Readonly<Record<string, Operand | null>>,
  attributes: Readonly<Record<string, unknown>> = {},
): Op {
  return { name, row: OPS[name], operands, attributes };
}
