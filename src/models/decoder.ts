import { at } from "../base/at.js";
import { headParameters, recordHead, tieAliases, type HeadSpec } from "./head.js";
import type { ModelDefinition } from "./family.js";
import type { ParameterSpec } from "../ops/parameter.js";
import type { Recorder } from "../ops/record.js";
import type { Activation, Rotary } from "../ops/table.js";
import type { Value } from "../ops/value.js";

/**
 * What tells the Llama-like families apart: RMS norms first, rotary positions, grouped-query attention, a gated
 * feed-forward layer.
 */
export interface GatedDecoder {
  readonly family: string;
  readonly vocabSize: number;
  readonly maxPositions: number;
  readonly hidden: number;
  readonly ffn: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  readonly activation: Activation;
  readonly epsilon: number;
  readonly tied: boolean;
  readonly rotary: Rotary;
  /** Positions that a token of the layer sees, itself included; 0: all before it. */
  readonly windows: readonly number[];
  readonly biases: { readonly queryKeyValue: boolean; readonly out: boolean; readonly feedForward: boolean };
  /** Whether queries and keys are normalised head by head (Qwen3). */
  readonly headNorms: boolean;
  readonly head: HeadSpec;
  /** In front of the base model's names. */
  readonly prefix: string;
}

/** The definition of a model of this kind. */
export function gatedDecoder(d: GatedDecoder): ModelDefinition {
  const tied = d.tied ? `${d.prefix}embed_tokens.weight` : null;
  return {
    family: d.family,
    vocabSize: d.vocabSize,
    maxPositions: d.maxPositions,
    head: d.head,
    parameters: parameterSpecs(d, tied),
    namePrefixes: [d.prefix, "model.", "transformer.", ""],
    aliases: tieAliases(d.head, tied),
    positionRow: (position) => position,
    record: (recorder) => record(d, recorder, tied),
  };
}

function parameterSpecs(d: GatedDecoder, tied: string | null): ParameterSpec[] {
  const specs: ParameterSpec[] = [];
  const vector = (name: string, length: number) =>
    specs.push({ name: `${d.prefix}${name}`, shape: [length], decay: false });
  const linear = (name: string, rows: number, columns: number, bias: boolean) => {
    specs.push({ name: `${d.prefix}${name}.weight`, shape: [rows, columns], decay: true });
    if (bias) vector(`${name}.bias`, rows);
  };
  const { hidden, ffn, headSize } = d;
  linear("embed_tokens", d.vocabSize, hidden, false);
  for (let i = 0; i < d.layers; i++) {
    const layer = `layers.${i}.`;
    linear(`${layer}self_attn.q_proj`, d.heads * headSize, hidden, d.biases.queryKeyValue);
    linear(`${layer}self_attn.k_proj`, d.kvHeads * headSize, hidden, d.biases.queryKeyValue);
    linear(`${layer}self_attn.v_proj`, d.kvHeads * headSize, hidden, d.biases.queryKeyValue);
    linear(`${layer}self_attn.o_proj`, hidden, d.heads * headSize, d.biases.out);
    if (d.headNorms) for (const name of ["q_norm", "k_norm"]) vector(`${layer}self_attn.${name}.weight`, headSize);
    linear(`${layer}mlp.gate_proj`, ffn, hidden, d.biases.feedForward);
    linear(`${layer}mlp.up_proj`, ffn, hidden, d.biases.feedForward);
    linear(`${layer}mlp.down_proj`, hidden, ffn, d.biases.feedForward);
    for (const name of ["input_layernorm", "post_attention_layernorm"]) vector(`${layer}${name}.weight`, hidden);
  }
  vector("norm.weight", hidden);
  return [...specs, ...headParameters(d.head, { width: hidden, vocabSize: d.vocabSize, tied })];
}

function record(d: GatedDecoder, r: Recorder, tied: string | null): void {
  const parameter = (name: string) => r.parameter(`${d.prefix}${name}`);
  const linear = (x: Value, name: string, residual?: Value) =>
    r.linear({ x, weight: parameter(`${name}.weight`), bias: r.optional(`${d.prefix}${name}.bias`), residual });
  const norm = (x: Value, name: string) => r.rmsNorm({ x, gain: parameter(`${name}.weight`), epsilon: d.epsilon });
  const rotate = (x: Value, name: string) => r.rope({ x: d.headNorms ? norm(x, name) : x, rotary: d.rotary });
  const { heads, kvHeads, activation } = d;
  const scale = 1 / Math.sqrt(d.headSize);

  let x = r.block("embedding", "embedding", () =>
    r.embed({ table: parameter("embed_tokens.weight"), index: r.inputs.tokens }),
  );
  for (let i = 0; i < d.layers; i++) {
    const layer = `layers.${i}.`;
    x = r.block(`layers.${i}`, "layer", () => {
      const h = norm(x, `${layer}input_layernorm`);
      const q = rotate(linear(h, `${layer}self_attn.q_proj`), `${layer}self_attn.q_norm`);
      const k = rotate(linear(h, `${layer}self_attn.k_proj`), `${layer}self_attn.k_norm`);
      const v = linear(h, `${layer}self_attn.v_proj`);
      const attended = r.attention({ q, k, v, heads, kvHeads, scale, window: at(d.windows, i) });
      const middle = linear(attended, `${layer}self_attn.o_proj`, x);
      const wide = norm(middle, `${layer}post_attention_layernorm`);
      const gate = linear(wide, `${layer}mlp.gate_proj`);
      const up = linear(wide, `${layer}mlp.up_proj`);
      return linear(r.gatedActivation({ gate, up, activation }), `${layer}mlp.down_proj`, middle);
    });
  }
  r.block("head", "head", () => {
    const rows = r.gatherRows({ x, index: r.inputs.headRows });
    recordHead(r, d.head, norm(rows, "norm"), tied);
  });
}
