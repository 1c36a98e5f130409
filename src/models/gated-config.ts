import { z } from "zod";
import { activationOf } from "./activation.js";
import type { GatedDecoder } from "./decoder.js";
import { size, unsupported } from "./fields.js";
import { readRotary, rotaryFields } from "./rotary.js";

/** The fields that every Llama-like `config.json` has. */
export const gatedFields = {
  vocab_size: size,
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: size.max(10_000),
  num_attention_heads: size,
  num_key_value_heads: size.optional(),
  head_dim: size.optional(),
  hidden_act: z.string().default("silu"),
  max_position_embeddings: size.optional(),
  rms_norm_eps: z.number().positive().default(1e-6),
  tie_word_embeddings: z.boolean().default(false),
  ...rotaryFields,
};

/** Fields of a sliding window, where a family has one. */
export const windowFields = {
  sliding_window: size.nullish(),
  layer_types: z.array(z.string()).nullish(),
};

/** What a family's older configs leave out. */
interface Defaults {
  readonly kvHeads?: number;
  readonly headSize?: number;
  /** Transformers' own. */
  readonly positions: number;
}

type GatedConfig = z.infer<z.ZodObject<typeof gatedFields>>;

/**
 * The parts of a definition that the shared fields give.
 * @param defaults for fields that a family's older configs leave out.
 */
export function gatedParts(c: GatedConfig, defaults: Defaults) {
  const positions = c.max_position_embeddings ?? defaults.positions;
  const heads = c.num_attention_heads;
  const kvHeads = c.num_key_value_heads ?? defaults.kvHeads ?? heads;
  if (heads % kvHeads !== 0)
    throw unsupported("num_key_value_heads", kvHeads, `it does not divide num_attention_heads = ${heads}`);
  const headSize = c.head_dim ?? defaults.headSize ?? c.hidden_size / heads;
  if (!Number.isInteger(headSize))
    throw unsupported("num_attention_heads", heads, `it does not divide hidden_size = ${c.hidden_size}`);
  return {
    vocabSize: c.vocab_size,
    maxPositions: positions,
    hidden: c.hidden_size,
    ffn: c.intermediate_size,
    layers: c.num_hidden_layers,
    heads,
    kvHeads,
    headSize,
    activation: activationOf("hidden_act", c.hidden_act),
    epsilon: c.rms_norm_eps,
    tied: c.tie_word_embeddings,
    rotary: readRotary({ ...c, max_position_embeddings: positions }, headSize),
  } satisfies Partial<GatedDecoder>;
}

/**
 * The window of each layer: `layer_types` says which slide where it is given, else all from layer `first` on do.
 * @param window null: no layer slides.
 */
export function layerWindows(
  layers: number,
  window: number | null,
  types: readonly string[] | null | undefined,
  first = 0,
): number[] {
  if (types === null || types === undefined)
    return Array.from({ length: layers }, (_, i) => (window !== null && i >= first ? window : 0));
  if (types.length !== layers) throw unsupported("layer_types", types, `num_hidden_layers is ${layers}`);
  return types.map((type) => {
    if (type === "full_attention") return 0;
    if (type !== "sliding_attention") throw unsupported("layer_types", type, "use full_attention or sliding_attention");
    if (window === null) throw unsupported("layer_types", type, "there is no sliding_window");
    return window;
  });
}
