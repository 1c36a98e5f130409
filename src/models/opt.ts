import { z } from "zod";
import { activationOf } from "./activation.js";
import type { ModelDefinition, ModelFamily } from "./family.js";
import { readFields, size, unsupported } from "./fields.js";
import { headParameters, recordHead, tieAliases, type HeadSpec } from "./head.js";
import type { ParameterSpec } from "../ops/parameter.js";
import type { Recorder } from "../ops/record.js";
import type { Activation } from "../ops/table.js";
import type { Value } from "../ops/value.js";

/** OPT's position table has two rows in front; row 1 belongs to padding, which never reaches the device. */
const POSITION_OFFSET = 2;
const LAYER_NORM_EPSILON = 1e-5;

const schema = z.object({
  vocab_size: size,
  hidden_size: size,
  num_hidden_layers: size.max(10_000),
  num_attention_heads: size,
  ffn_dim: size,
  max_position_embeddings: size.default(2048),
  activation_function: z
    .string()
    .default("relu")
    .transform((name) => activationOf("activation_function", name)),
  do_layer_norm_before: z.boolean().default(true),
  word_embed_proj_dim: size.optional(),
  tie_word_embeddings: z.boolean().default(true),
  enable_bias: z.boolean().default(true),
  layer_norm_elementwise_affine: z.boolean().default(true),
  _remove_final_layer_norm: z.boolean().default(false),
});
type OptConfig = z.infer<typeof schema>;

const PREFIX = "model.decoder.";
const EMBEDDING = `${PREFIX}embed_tokens.weight`;

/**
 * OPT (arXiv 2205.01068), every size: learned positions, ReLU or GELU, tied or untied head; of 350M, norms after the
 * sums and projected embeddings.
 */
export const opt: ModelFamily = {
  modelType: "opt",
  define(raw, head) {
    const c = readFields("opt", raw, schema);
    if (!c.layer_norm_elementwise_affine)
      throw unsupported("layer_norm_elementwise_affine", false, "layer norms without gains are not");
    if (c.hidden_size % c.num_attention_heads !== 0) {
      throw unsupported(
        "num_attention_heads",
        c.num_attention_heads,
        `it does not divide hidden_size = ${c.hidden_size}`,
      );
    }
    return definition(c, head);
  },
};

/** Columns of the embedding and of what the head reads. */
function embeddingWidth(c: OptConfig): number {
  return c.word_embed_proj_dim ?? c.hidden_size;
}

function isProjected(c: OptConfig): boolean {
  return embeddingWidth(c) !== c.hidden_size;
}

function hasFinalNorm(c: OptConfig): boolean {
  return c.do_layer_norm_before && !c._remove_final_layer_norm;
}

function definition(c: OptConfig, head: HeadSpec): ModelDefinition {
  const tied = c.tie_word_embeddings ? EMBEDDING : null;
  return {
    family: "opt",
    vocabSize: c.vocab_size,
    maxPositions: c.max_position_embeddings,
    head,
    parameters: [
      ...parameterSpecs(c),
      ...headParameters(head, { width: embeddingWidth(c), vocabSize: c.vocab_size, tied }),
    ],
    namePrefixes: [PREFIX, "decoder.", ""],
    aliases: tieAliases(head, tied),
    positionRow: (position) => position + POSITION_OFFSET,
    record: (recorder) => record(c, recorder, head, tied),
  };
}

function parameterSpecs(c: OptConfig): ParameterSpec[] {
  const { hidden_size: hidden, ffn_dim: ffn } = c;
  const specs: ParameterSpec[] = [];
  const matrix = (name: string, rows: number, columns: number) =>
    specs.push({ name: `${PREFIX}${name}`, shape: [rows, columns], decay: true });
  const vector = (name: string, length: number) =>
    specs.push({ name: `${PREFIX}${name}`, shape: [length], decay: false });
  const linear = (name: string, rows: number, columns: number) => {
    matrix(`${name}.weight`, rows, columns);
    if (c.enable_bias) vector(`${name}.bias`, rows);
  };
  const norm = (name: string) => {
    vector(`${name}.weight`, hidden);
    vector(`${name}.bias`, hidden);
  };
  const width = embeddingWidth(c);
  matrix("embed_tokens.weight", c.vocab_size, width);
  matrix("embed_positions.weight", c.max_position_embeddings + POSITION_OFFSET, hidden);
  if (isProjected(c)) {
    matrix("project_out.weight", width, hidden);
    matrix("project_in.weight", hidden, width);
  }
  if (hasFinalNorm(c)) norm("final_layer_norm");
  for (let i = 0; i < c.num_hidden_layers; i++) {
    const layer = `layers.${i}.`;
    for (const name of ["k_proj", "v_proj", "q_proj", "out_proj"]) linear(`${layer}self_attn.${name}`, hidden, hidden);
    norm(`${layer}self_attn_layer_norm`);
    linear(`${layer}fc1`, ffn, hidden);
    linear(`${layer}fc2`, hidden, ffn);
    norm(`${layer}final_layer_norm`);
  }
  return specs;
}

function record(c: OptConfig, r: Recorder, head: HeadSpec, tied: string | null): void {
  const parameter = (name: string) => r.parameter(`${PREFIX}${name}`);
  const norm = (x: Value, name: string) =>
    r.layerNorm({
      x,
      gain: parameter(`${name}.weight`),
      bias: parameter(`${name}.bias`),
      epsilon: LAYER_NORM_EPSILON,
    });
  const linear = (x: Value, name: string, o: { activation?: Activation; residual?: Value } = {}) =>
    r.linear({ x, weight: parameter(`${name}.weight`), bias: r.optional(`${PREFIX}${name}.bias`), ...o });
  const project = (x: Value, name: string) =>
    isProjected(c) ? r.linear({ x, weight: parameter(`${name}.weight`) }) : x;
  const heads = c.num_attention_heads;
  const scale = 1 / Math.sqrt(c.hidden_size / heads);
  const first = c.do_layer_norm_before;
  /** The norm where it comes before the layer, or after its sum. */
  const before = (x: Value, name: string) => (first ? norm(x, name) : x);
  const after = (x: Value, name: string) => (first ? x : norm(x, name));

  let x = r.block("embedding", "embedding", () => {
    const tokens = r.embed({ table: parameter("embed_tokens.weight"), index: r.inputs.tokens });
    const onto = project(tokens, "project_in");
    return r.embed({ table: parameter("embed_positions.weight"), index: r.inputs.positions, onto });
  });
  for (let i = 0; i < c.num_hidden_layers; i++) {
    const layer = `layers.${i}.`;
    x = r.block(`layers.${i}`, "layer", () => {
      const h = before(x, `${layer}self_attn_layer_norm`);
      const k = linear(h, `${layer}self_attn.k_proj`);
      const v = linear(h, `${layer}self_attn.v_proj`);
      const q = linear(h, `${layer}self_attn.q_proj`);
      const attended = r.attention({ q, k, v, heads, kvHeads: heads, scale });
      const sum = linear(attended, `${layer}self_attn.out_proj`, { residual: x });
      const middle = after(sum, `${layer}self_attn_layer_norm`);
      const wide = linear(before(middle, `${layer}final_layer_norm`), `${layer}fc1`, {
        activation: c.activation_function,
      });
      return after(linear(wide, `${layer}fc2`, { residual: middle }), `${layer}final_layer_norm`);
    });
  }
  r.block("head", "head", () => {
    const rows = r.gatherRows({ x, index: r.inputs.headRows });
    recordHead(r, head, project(hasFinalNorm(c) ? norm(rows, "final_layer_norm") : rows, "project_out"), tied);
  });
}
