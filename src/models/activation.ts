import { unsupported } from "./fields.js";
import type { Activation } from "../ops/table.js";

/** Activations by transformers' names. */
const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  relu: "relu",
  gelu: "gelu",
  // Three spellings of one formula, that with the hyperbolic tangent.
  gelu_new: "geluTanh",
  gelu_pytorch_tanh: "geluTanh",
  gelu_fast: "geluTanh",
  silu: "silu",
  swish: "silu",
};

/** The activation that a `config.json` names in `field`. Throws ZO2_ERR_MODEL_UNSUPPORTED. */
export function activationOf(field: string, name: string): Activation {
  const found = Object.hasOwn(ACTIVATIONS, name) ? ACTIVATIONS[name] : undefined;
  if (found === undefined) throw unsupported(field, name, `use one of ${Object.keys(ACTIVATIONS).join(", ")}`);
  return found;
}
