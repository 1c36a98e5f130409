import { z } from "zod";
import { gatedDecoder } from "./decoder.js";
import type { ModelFamily } from "./family.js";
import { readFields, size } from "./fields.js";
import { gatedFields, gatedParts } from "./gated-config.js";

const schema = z.object({
  ...gatedFields,
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  /** What the first Llama configs called it; of both, the newer counts. */
  max_sequence_length: size.optional(),
});

const DEFAULT_POSITIONS = 2048;

/** Llama 1 to 3 (arXiv 2302.13971, 2307.09288, 2407.21783), and what is built like them: Vicuna, SmolLM2, TinyLlama. */
export const llama: ModelFamily = {
  modelType: "llama",
  define(raw, head) {
    const c = readFields("llama", raw, schema, ["is_llama_config", "max_window_layers"]);
    return gatedDecoder({
      ...gatedParts(c, { positions: c.max_sequence_length ?? DEFAULT_POSITIONS }),
      family: "llama",
      head,
      windows: new Array<number>(c.num_hidden_layers).fill(0),
      biases: { queryKeyValue: c.attention_bias, out: c.attention_bias, feedForward: c.mlp_bias },
      headNorms: false,
      prefix: head.kind === "spans" ? "transformer." : "model.",
    });
  },
};
