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
    case "prefixedAttention":
      return lowerPrefixed(op, pass);
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
  return attendOver(op, pass, cached);
}

/** What stands in front of sequences is put in front of them first: in the cache, or where the pass has both. */
function lowerPrefixed(op: Op, pass: Lowering): Op[] {
  const { prefixKeys = null, prefixValues = null, keys = null, values = null } = op.operands;
  const places = pass.cached(op) ?? { keys, values };
  const index = pass.inputs.prefixPlaces;
  return [
    make("scatterRows", { out: places.keys, x: prefixKeys, index }),
    make("scatterRows", { out: places.values, x: prefixValues, index }),
    ...attendOver(op, pass, places),
  ];
}

/** The keys and values of the pass are put where those of its sequences are, and attention reads all of them there. */
function attendOver(
  { operands, attributes }: Op,
  { inputs }: Lowering,
  { keys, values }: { readonly keys: Operand | null; readonly values: Operand | null },
): Op[] {
  const { out = null, q = null, k = null, v = null, sequences = null } = operands;
  const index = inputs.cacheRows;
  return [
    make("scatterRows", { out: keys, x: k, index }),
    make("scatterRows", { out: values, x: v, index }),
    make("attention", { out, q, k: keys, v: values, sequences }, attributes),
  ];
}

function make(
  name: OpName,
  operands: Readonly<Record<string, Operand | null>>,
  attributes: Readonly<Record<string, unknown>> = {},
): Op {
  return { name, row: OPS[name], operands, attributes };
}
