import { z } from "zod";
import { gatedDecoder } from "./decoder.js";
import type { ModelFamily } from "./family.js";
import { readFields } from "./fields.js";
import { gatedFields, gatedParts, layerWindows, windowFields } from "./gated-config.js";

/**
 * Fields of the sliding window of Qwen models: it is off unless `use_sliding_window` says otherwise, and then begins at
 * a layer.
 */
export const qwenWindowFields = {
  ...windowFields,
  use_sliding_window: z.boolean().default(false),
  max_window_layers: z.number().int().min(0).default(28),
};
type QwenWindow = z.infer<z.ZodObject<typeof qwenWindowFields>>;

const DEFAULT_WINDOW = 4096;
/** Of a config that does not say. */
export const QWEN_POSITIONS = 32_768;

/** The window of each layer of a Qwen model. */
export function qwenWindows(layers: number, c: QwenWindow): number[] {
  const window = c.use_sliding_window ? (c.sliding_window === undefined ? DEFAULT_WINDOW : c.sliding_window) : null;
  return layerWindows(layers, window, c.layer_types, c.max_window_layers);
}

const schema = z.object({ ...gatedFields, ...qwenWindowFields });

/** Qwen2 and Qwen2.5 (arXiv 2407.10671): Llama with biases on queries, keys and values. */
export const qwen2: ModelFamily = {
  modelType: "qwen2",
  define(raw, head) {
    const c = readFields("qwen2", raw, schema);
    return gatedDecoder({
      ...gatedParts(c, { positions: QWEN_POSITIONS }),
      family: "qwen2",
      head,
      windows: qwenWindows(c.num_hidden_layers, c),
      biases: { queryKeyValue: true, out: false, feedForward: false },
      headNorms: false,
      prefix: head.kind === "spans" ? "transformer." : "model.",
    });
  },
};
