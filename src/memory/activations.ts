import type { Value } from "../ops/record.js";
import type { FloatType } from "../base/dtype.js";
import type { Unit } from "./units.js";

/**
 * Storage type of each activation, by the id of its value. What is added to (embeddings, the residual stream) is fp32,
 * as are results and the state of the streamed head; what only feeds the next op is in the compute dtype, in which a
 * matrix product takes it anyway.
 */
export function activationTypes(units: readonly Unit[], compute: FloatType): ReadonlyMap<number, FloatType> {
  const types = new Map<number, FloatType>();
  const fp32 = (...values: (Value | null)[]) =>
    values.forEach((value) => value !== null && types.set(value.id, "fp32"));
  const ops = units.flatMap((unit) => unit.ops.map((o) => o.op));
  for (const op of ops) {
    if (op.kind === "embed") fp32(op.out);
    if (op.kind === "linear" && op.residual !== null) fp32(op.out, op.residual);
    if (op.kind === "head") fp32(op.logprob, op.state, op.logits);
  }
  for (const op of ops) if (op.kind === "gatherRows" && types.get(op.x.id) === "fp32") fp32(op.out);
  for (const op of ops) {
    if ("out" in op && !types.has(op.out.id)) types.set(op.out.id, compute);
    if (op.kind === "linear" && op.turned !== null) types.set(op.turned.id, compute);
  }
  return types;
}
