import { Zo2Error } from "../base/errors.js";
import type { ModelDefinition, ModelFamily } from "./family.js";
import { unsupported } from "./fields.js";
import { gpt2 } from "./gpt2.js";
import { readHead } from "./head.js";
import { canonicalLength, numberParameters, type Parameter } from "../ops/parameter.js";
import { createRecorder, type Recorder, type Recording } from "../ops/record.js";
import { llama } from "./llama.js";
import { mistral } from "./mistral.js";
import { opt } from "./opt.js";
import { qwen2 } from "./qwen2.js";
import { qwen3 } from "./qwen3.js";

/** Every architecture that can be loaded. A new one is a new file here. */
const families: readonly ModelFamily[] = [opt, gpt2, llama, mistral, qwen2, qwen3];

/**
 * The forward pass of a model, whose parameters have been numbered.
 * @param adapter records its ops with the model's; null: there is none.
 */
export function recordModel(
  definition: ModelDefinition,
  parameters: readonly Parameter[],
  adapter: { over(recorder: Recorder): Recorder } | null = null,
): Recording {
  const plain = createRecorder(parameters);
  const recorder = adapter?.over(plain) ?? plain;
  definition.record(recorder);
  return recorder.finish();
}

/**
 * @param config the parsed `config.json` of a Hugging Face folder.
 * @param ignored names of fields that the caller vouches for: they do not change what the model computes.
 * @throws Zo2Error ZO2_ERR_MODEL_UNSUPPORTED for an unknown architecture, and for a field that changes the mathematics
 *   and is not supported, by name
 */
export function defineModel(config: unknown, ignored: readonly string[] = []): ModelDefinition {
  if (typeof config !== "object" || config === null || Array.isArray(config)) {
    throw new Zo2Error(
      "ZO2_ERR_MODEL_UNSUPPORTED",
      "config.json is not a JSON object; give the folder of a Hugging Face model",
    );
  }
  const fields = Object.fromEntries(Object.entries(config).filter(([field]) => !ignored.includes(field)));
  const family = families.find((f) => f.modelType === fields["model_type"]);
  if (family === undefined)
    throw unsupported("model_type", fields["model_type"], `use one of ${families.map((f) => f.modelType).join(", ")}`);
  const definition = family.define(fields, readHead(fields));
  // Canonical indices, and bytes of fp32 weights, have to be exact in a double.
  const elements = canonicalLength(numberParameters(definition.parameters));
  if (elements * 4 > Number.MAX_SAFE_INTEGER)
    throw new Zo2Error(
      "ZO2_ERR_MODEL_UNSUPPORTED",
      `config.json: its sizes make ${elements} weights; at most 2^51 are supported`,
    );
  return definition;
}
