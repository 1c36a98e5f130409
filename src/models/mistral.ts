import { z } from "zod";
import { gatedDecoder } from "./decoder.js";
import type { ModelFamily } from "./family.js";
import { readFields, unsupported } from "./fields.js";
import { gatedFields, gatedParts, layerWindows, windowFields } from "./gated-config.js";

const schema = z.object({ ...gatedFields, ...windowFields, use_sliding_window: z.boolean().optional() });

/** Transformers' own default where a config says nothing; null there means no window. */
const DEFAULT_WINDOW = 4096;
const DEFAULT_KV_HEADS = 8;
const DEFAULT_POSITIONS = 131_072;

/** Mistral 7B (arXiv 2310.06825) and its successors: Llama with a sliding window. */
export const mistral: ModelFamily = {
  modelType: "mistral",
  define(raw, head) {
    const c = readFields("mistral", raw, schema);
    const window = c.sliding_window === undefined ? DEFAULT_WINDOW : c.sliding_window;
    // Transformers' Mistral does not read the field: what it says has to be so anyway.
    if (c.use_sliding_window === false && window !== null)
      throw unsupported("use_sliding_window", false, `sliding_window is ${window}; set it to null`);
    return gatedDecoder({
      ...gatedParts(c, { kvHeads: DEFAULT_KV_HEADS, positions: DEFAULT_POSITIONS }),
      family: "mistral",
      head,
      windows: layerWindows(c.num_hidden_layers, window, c.layer_types),
      biases: { queryKeyValue: false, out: false, feedForward: false },
      headNorms: false,
      prefix: "model.",
    });
  },
};
