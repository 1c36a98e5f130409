/** A `config.json`: `defineModel` of src/models. */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { mutateBytes } from "../lib/bytes.mjs";
import { mutateJson } from "../lib/json.mjs";
import { attempt, demand } from "../lib/oracle.mjs";

const CODES = ["ZO2_ERR_MODEL_UNSUPPORTED", "ZO2_ERR_CONFIG"];
const isCount = (value) => Number.isSafeInteger(value) && value > 0;

function checkModel(model, numberParameters) {
  demand(isCount(model.vocabSize), () => `vocabSize is ${model.vocabSize}`);
  demand(isCount(model.maxPositions), () => `maxPositions is ${model.maxPositions}`);
  const parameters = numberParameters(model.parameters);
  demand(parameters.length > 0, "a model without parameters");
  const names = new Set();
  for (const { name, shape, count, canonical } of parameters) {
    demand(!names.has(name), () => `${name} stands twice`);
    names.add(name);
    demand(shape.length > 0 && shape.every(isCount), () => `${name}: shape [${shape.join(", ")}]`);
    demand(
      isCount(count) && Number.isSafeInteger(canonical + count),
      () => `${name}: elements ${canonical} to ${canonical + count}`,
    );
  }
}

export default {
  dictionary: [
    "model_type",
    "opt",
    "gpt2",
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "architectures",
    "OPTForCausalLM",
    "LlamaForSequenceClassification",
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "intermediate_size",
    "ffn_dim",
    "n_embd",
    "n_layer",
    "n_head",
    "n_positions",
    "n_inner",
    "max_position_embeddings",
    "activation_function",
    "hidden_act",
    "relu",
    "gelu",
    "gelu_new",
    "silu",
    "do_layer_norm_before",
    "word_embed_proj_dim",
    "tie_word_embeddings",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "rope_type",
    "llama3",
    "linear",
    "dynamic",
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "original_max_position_embeddings",
    "sliding_window",
    "layer_types",
    "rms_norm_eps",
    "attention_bias",
    "num_labels",
    "id2label",
    "problem_type",
    "regression",
    "single_label_classification",
    "multi_label_classification",
    "pad_token_id",
  ],
  maxBytes: 8192,

  *seeds(root) {
    for (const folder of [
      path.join(root, "test", "fixtures", "models"),
      path.join(root, "test", "fixtures", "trajectories", "models"),
    ]) {
      if (!existsSync(folder)) continue;
      for (const name of readdirSync(folder).sort()) {
        const file = path.join(folder, name, "config.json");
        if (existsSync(file)) yield readFileSync(file);
      }
    }
  },

  mutate: (bytes, random, context) =>
    (random.chance(0.95) && mutateJson(bytes, random, context.dictionary)) || mutateBytes(bytes, random, context),

  async open({ dist }) {
    const { defineModel } = await import(path.join(dist, "models", "index.js"));
    const { numberParameters } = await import(path.join(dist, "ops", "parameter.js"));
    const { isZo2Error } = await import(path.join(dist, "base", "errors.js"));
    const define = (config, bytes) => attempt(isZo2Error, CODES, bytes, () => defineModel(config));
    return async (input) => {
      let config;
      try {
        config = JSON.parse(input.toString("utf8"));
      } catch {
        return;
      }
      const before = JSON.stringify(config);
      const first = await define(config, input.length);
      const second = await define(config, input.length);
      demand(JSON.stringify(config) === before, "the config that was given has changed");
      if (first.value === undefined) {
        demand(first.message === second.message, () => `refused in two ways: ${first.message}; ${second.message}`);
        return;
      }
      checkModel(first.value, numberParameters);
      demand(second.value !== undefined, () => `refused the second time: ${second.message}`);
      demand(
        JSON.stringify(first.value.parameters) === JSON.stringify(second.value.parameters),
        "other parameters the second time",
      );
    };
  },
};
