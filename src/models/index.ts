import { Zo2Error } from "../errors.js";
import type { ModelDefinition, ModelFamily } from "./family.js";
import { opt } from "./opt.js";

/** Every architecture that can be loaded. A new one is a new file here. */
const families: readonly ModelFamily[] = [opt];

/** @param config the parsed `config.json` of a Hugging Face folder. */
export function defineModel(config: unknown): ModelDefinition {
  if (typeof config !== "object" || config === null || Array.isArray(config)) {
    throw new Zo2Error("ZO2_ERR_MODEL_UNSUPPORTED", "config.json is not a JSON object; give the folder of a Hugging Face model");
  }
  const fields = config as Readonly<Record<string, unknown>>;
  const known = families.map((f) => f.modelType).join(", ");
  const family = families.find((f) => f.modelType === fields["model_type"]);
  if (family === undefined) {
    throw new Zo2Error("ZO2_ERR_MODEL_UNSUPPORTED", `config.json: model_type = ${JSON.stringify(fields["model_type"])} is not supported; supported: ${known}`);
  }
  const architectures = fields["architectures"];
  if (Array.isArray(architectures) && architectures.some((a) => typeof a === "string" && !/ForCausalLM$|Model$/.test(a))) {
    throw new Zo2Error("ZO2_ERR_MODEL_UNSUPPORTED", `config.json: architectures = ${JSON.stringify(architectures)}: only causal language models are supported`);
  }
  return family.define(fields);
}
