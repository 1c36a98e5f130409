import { z } from "zod";
import { Zo2Error } from "../errors.js";
import type { ModelDefinition, ModelFamily } from "./family.js";
import type { ParameterSpec } from "./parameter.js";
import type { Recorder, Value } from "./recorder.js";

/** OPT's position table has two rows in front; row 1 belongs to padding, which never reaches the device. */
const POSITION_OFFSET = 2;
const LAYER_NORM_EPSILON = 1e-5;

const size = z.number().int().positive();
const configSchema = z.object({
  vocab_size: size,
  hidden_size: size,
  num_hidden_layers: size,
  num_attention_heads: size,
  ffn_dim: size,
  max_position_embeddings: size,
  activation_function: z.string().default("relu"),
  do_layer_norm_before: z.boolean().default(true),
  word_embed_proj_dim: size.optional(),
  tie_word_embeddings: z.boolean().default(true),
  enable_bias: z.boolean().default(true),
  layer_norm_elementwise_affine: z.boolean().default(true),
  _remove_final_layer_norm: z.boolean().default(false),
});
type OptConfig = z.infer<typeof configSchema>;

/**
 * OPT (arXiv 2205.01068), every size whose layer norms come first; the post-LN 350M variant is refused by name.
 * Learned positions, biases everywhere, ReLU or GELU, tied or untied head.
 */
export const opt: ModelFamily = {
  modelType: "opt",
  define(raw) {
    const parsed = configSchema.safeParse(raw);
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      throw new Zo2Error("ZO2_ERR_MODEL_UNSUPPORTED", `config.json: ${issue?.path.join(".") ?? "?"}: ${issue?.message ?? "invalid"}; an OPT model needs it`);
    }
    const config = parsed.data;
    refuse(config);
    return definition(config);
  },
};

function refuse(config: OptConfig): void {
  const unsupported = (field: string, value: unknown, why: string): never => {
    throw new Zo2Error("ZO2_ERR_MODEL_UNSUPPORTED", `config.json: ${field} = ${JSON.stringify(value)} is not supported: ${why}`);
  };
  if (!config.do_layer_norm_before) unsupported("do_layer_norm_before", false, "layer norms after the residual (OPT-350M) are not there yet; use another size");
  if (config.word_embed_proj_dim !== undefined && config.word_embed_proj_dim !== config.hidden_size) {
    unsupported("word_embed_proj_dim", config.word_embed_proj_dim, `projected embeddings (hidden_size is ${config.hidden_size}) are not there yet; use another size`);
  }
  if (!config.enable_bias) unsupported("enable_bias", false, "layers without biases are not there yet");
  if (!config.layer_norm_elementwise_affine) unsupported("layer_norm_elementwise_affine", false, "layer norms without gains are not there yet");
  if (config._remove_final_layer_norm) unsupported("_remove_final_layer_norm", true, "models without the final layer norm are not there yet");
  if (config.activation_function !== "relu" && config.activation_function !== "gelu") {
    unsupported("activation_function", config.activation_function, "use relu or gelu");
  }
  if (config.hidden_size % config.num_attention_heads !== 0) {
    unsupported("num_attention_heads", config.num_attention_heads, `it does not divide hidden_size = ${config.hidden_size}`);
  }
}

const DECODER = "model.decoder.";

function parameterSpecs(config: OptConfig): ParameterSpec[] {
  const { hidden_size: hidden, ffn_dim: ffn } = config;
  const specs: ParameterSpec[] = [];
  const matrix = (name: string, rows: number, columns: number) => specs.push({ name, shape: [rows, columns], decay: true });
  const vector = (name: string, length: number) => specs.push({ name, shape: [length], decay: false });
  const linear = (name: string, rows: number, columns: number) => {
    matrix(`${name}.weight`, rows, columns);
    vector(`${name}.bias`, rows);
  };
  const norm = (name: string) => {
    vector(`${name}.weight`, hidden);
    vector(`${name}.bias`, hidden);
  };
  matrix(`${DECODER}embed_tokens.weight`, config.vocab_size, hidden);
  matrix(`${DECODER}embed_positions.weight`, config.max_position_embeddings + POSITION_OFFSET, hidden);
  norm(`${DECODER}final_layer_norm`);
  for (let i = 0; i < config.num_hidden_layers; i++) {
    const layer = `${DECODER}layers.${i}.`;
    for (const name of ["k_proj", "v_proj", "q_proj", "out_proj"]) linear(`${layer}self_attn.${name}`, hidden, hidden);
    norm(`${layer}self_attn_layer_norm`);
    linear(`${layer}fc1`, ffn, hidden);
    linear(`${layer}fc2`, hidden, ffn);
    norm(`${layer}final_layer_norm`);
  }
  if (!config.tie_word_embeddings) matrix("lm_head.weight", config.vocab_size, hidden);
  return specs;
}

function definition(config: OptConfig): ModelDefinition {
  return {
    family: "opt",
    vocabSize: config.vocab_size,
    maxPositions: config.max_position_embeddings,
    parameters: parameterSpecs(config),
    namePrefixes: [DECODER, "decoder.", ""],
    positionRow: (position) => position + POSITION_OFFSET,
    record: (recorder, head) => record(config, recorder, head === "logits"),
  };
}

function record(config: OptConfig, r: Recorder, logits: boolean): Value {
  const norm = (x: Value, name: string) => r.layerNorm(x, r.parameter(`${name}.weight`), r.parameter(`${name}.bias`), LAYER_NORM_EPSILON);
  const linear = (x: Value, name: string, o?: Parameters<Recorder["linear"]>[3]) =>
    r.linear(x, r.parameter(`${name}.weight`), r.parameter(`${name}.bias`), o);
  const heads = config.num_attention_heads;
  const scale = 1 / Math.sqrt(config.hidden_size / heads);
  const activation = config.activation_function === "gelu" ? "gelu" : "relu";

  let x = r.block("embedding", "embedding", () => {
    const tokens = r.embed(r.parameter(`${DECODER}embed_tokens.weight`), r.inputs.tokens);
    return r.embed(r.parameter(`${DECODER}embed_positions.weight`), r.inputs.positions, tokens);
  });
  for (let i = 0; i < config.num_hidden_layers; i++) {
    const layer = `${DECODER}layers.${i}.`;
    x = r.block(`layers.${i}`, "layer", () => {
      const h = norm(x, `${layer}self_attn_layer_norm`);
      const k = linear(h, `${layer}self_attn.k_proj`);
      const v = linear(h, `${layer}self_attn.v_proj`);
      const q = linear(h, `${layer}self_attn.q_proj`);
      const attended = r.attention(q, k, v, { heads, kvHeads: heads, scale });
      const middle = linear(attended, `${layer}self_attn.out_proj`, { residual: x });
      const wide = linear(norm(middle, `${layer}final_layer_norm`), `${layer}fc1`, { activation });
      return linear(wide, `${layer}fc2`, { residual: middle });
    });
  }
  return r.block("head", "head", () => {
    const h = norm(r.gatherRows(x, r.inputs.headRows), `${DECODER}final_layer_norm`);
    const weight = r.parameter(config.tie_word_embeddings ? `${DECODER}embed_tokens.weight` : "lm_head.weight");
    return logits ? r.linear(h, weight, null, { result: true }) : r.crossEntropy(h, weight);
  });
}
