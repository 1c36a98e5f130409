import { z } from "zod";
import { activationOf } from "./activation.js";
import type { ModelDefinition, ModelFamily } from "./family.js";
import { readFields, size, unsupported } from "./fields.js";
import { headParameters, recordHead, tieAliases, type HeadSpec } from "./head.js";
import type { ParameterSpec } from "../ops/parameter.js";
import type { Recorder } from "../ops/record.js";
import type { Activation } from "../ops/table.js";
import type { Value } from "../ops/value.js";

const schema = z.object({
  vocab_size: size,
  n_embd: size,
  n_layer: size.max(10_000),
  n_head: size,
  n_positions: size.default(1024),
  n_inner: size.nullish(),
  activation_function: z
    .string()
    .default("gelu_new")
    .transform((name) => activationOf("activation_function", name)),
  layer_norm_epsilon: z.number().positive().default(1e-5),
  scale_attn_weights: z.boolean().default(true),
  scale_attn_by_inverse_layer_idx: z.boolean().default(false),
  tie_word_embeddings: z.boolean().default(true),
});
type Gpt2Config = z.infer<typeof schema>;

/**
 * Upcasting attention changes rounding and nothing else (ours is fp32 always); the summary fields belong to a head that
 * is not supported.
 */
const HARMLESS = [
  "reorder_and_upcast_attn",
  "n_ctx",
  "summary_activation",
  "summary_proj_to_labels",
  "summary_type",
  "summary_use_proj",
];

const PREFIX = "transformer.";
const EMBEDDING = `${PREFIX}wte.weight`;

/**
 * GPT-2 (Radford et al. 2019), all sizes. Its linear layers (`Conv1D`) are stored as [inputs, outputs], and stay so at
 * rest and in the canonical order; they are transposed on the device before each product.
 */
export const gpt2: ModelFamily = {
  modelType: "gpt2",
  define(raw, head) {
    const c = readFields("gpt2", raw, schema, HARMLESS);
    if (c.n_embd % c.n_head !== 0) throw unsupported("n_head", c.n_head, `it does not divide n_embd = ${c.n_embd}`);
    return definition(c, head);
  },
};

function definition(c: Gpt2Config, head: HeadSpec): ModelDefinition {
  const tied = c.tie_word_embeddings ? EMBEDDING : null;
  return {
    family: "gpt2",
    vocabSize: c.vocab_size,
    maxPositions: c.n_positions,
    head,
    parameters: [...parameterSpecs(c), ...headParameters(head, { width: c.n_embd, vocabSize: c.vocab_size, tied })],
    namePrefixes: [PREFIX, ""],
    aliases: tieAliases(head, tied),
    positionRow: (position) => position,
    record: (recorder) => record(c, recorder, head, tied),
  };
}

function parameterSpecs(c: Gpt2Config): ParameterSpec[] {
  const specs: ParameterSpec[] = [];
  const hidden = c.n_embd;
  const ffn = c.n_inner ?? 4 * hidden;
  const matrix = (name: string, rows: number, columns: number) =>
    specs.push({ name: `${PREFIX}${name}`, shape: [rows, columns], decay: true });
  const vector = (name: string, length: number) =>
    specs.push({ name: `${PREFIX}${name}`, shape: [length], decay: false });
  const transposed = (name: string, inputs: number, outputs: number) => {
    matrix(`${name}.weight`, inputs, outputs);
    vector(`${name}.bias`, outputs);
  };
  const norm = (name: string) => {
    vector(`${name}.weight`, hidden);
    vector(`${name}.bias`, hidden);
  };
  matrix("wte.weight", c.vocab_size, hidden);
  matrix("wpe.weight", c.n_positions, hidden);
  for (let i = 0; i < c.n_layer; i++) {
    const layer = `h.${i}.`;
    norm(`${layer}ln_1`);
    transposed(`${layer}attn.c_attn`, hidden, 3 * hidden);
    transposed(`${layer}attn.c_proj`, hidden, hidden);
    norm(`${layer}ln_2`);
    transposed(`${layer}mlp.c_fc`, hidden, ffn);
    transposed(`${layer}mlp.c_proj`, ffn, hidden);
  }
  norm("ln_f");
  return specs;
}

function record(c: Gpt2Config, r: Recorder, head: HeadSpec, tied: string | null): void {
  const parameter = (name: string) => r.parameter(`${PREFIX}${name}`);
  const norm = (x: Value, name: string) =>
    r.layerNorm({
      x,
      gain: parameter(`${name}.weight`),
      bias: parameter(`${name}.bias`),
      epsilon: c.layer_norm_epsilon,
    });
  const linear = (x: Value, name: string, o: { activation?: Activation; residual?: Value } = {}) =>
    r.linear({
      x,
      weight: r.transpose({ x: parameter(`${name}.weight`) }),
      bias: parameter(`${name}.bias`),
      ...o,
    });
  const { n_embd: hidden, n_head: heads } = c;

  let x = r.block("embedding", "embedding", () => {
    const tokens = r.embed({ table: parameter("wte.weight"), index: r.inputs.tokens });
    return r.embed({ table: parameter("wpe.weight"), index: r.inputs.positions, onto: tokens });
  });
  for (let i = 0; i < c.n_layer; i++) {
    const layer = `h.${i}.`;
    x = r.block(`h.${i}`, "layer", () => {
      const fused = linear(norm(x, `${layer}ln_1`), `${layer}attn.c_attn`);
      const q = r.columns(fused, 0, hidden);
      const k = r.columns(fused, hidden, hidden);
      const v = r.columns(fused, 2 * hidden, hidden);
      const scale =
        (c.scale_attn_weights ? 1 / Math.sqrt(hidden / heads) : 1) / (c.scale_attn_by_inverse_layer_idx ? i + 1 : 1);
      const attended = r.attention({ q, k, v, heads, kvHeads: heads, scale });
      const middle = linear(attended, `${layer}attn.c_proj`, { residual: x });
      const wide = linear(norm(middle, `${layer}ln_2`), `${layer}mlp.c_fc`, { activation: c.activation_function });
      return linear(wide, `${layer}mlp.c_proj`, { residual: middle });
    });
  }
  r.block("head", "head", () => {
    const rows = r.gatherRows({ x, index: r.inputs.headRows });
    recordHead(r, head, norm(rows, "ln_f"), tied);
  });
}
