import { z } from "zod";
import { gatedDecoder } from "./decoder.js";
import type { ModelFamily } from "./family.js";
import { readFields } from "./fields.js";
import { gatedFields, gatedParts } from "./gated-config.js";
import { QWEN_POSITIONS, qwenWindowFields, qwenWindows } from "./qwen2.js";

const schema = z.object({ ...gatedFields, ...qwenWindowFields, attention_bias: z.boolean().default(false) });

const DEFAULT_HEAD_SIZE = 128;

/** Qwen3, dense (arXiv 2505.09388): Llama with RMS norms on each head's query and key. */
export const qwen3: ModelFamily = {
  modelType: "qwen3",
  define(raw, head) {
    const c = readFields("qwen3", raw, schema);
    return gatedDecoder({
      ...gatedParts(c, { headSize: DEFAULT_HEAD_SIZE, positions: QWEN_POSITIONS }),
      family: "qwen3",
      head,
      windows: qwenWindows(c.num_hidden_layers, c),
      biases: { queryKeyValue: c.attention_bias, out: c.attention_bias, feedForward: false },
      headNorms: true,
      prefix: head.kind === "spans" ? "transformer." : "model.",
    });
  },
};
