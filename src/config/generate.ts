import { z } from "zod";
import type { Frozen } from "./parse.js";
import { seedSchema } from "./seed.js";

/**
 * What `model.generate` and `model.generateAll` take. Of the model's `generation_config.json` only the end tokens are
 * used: its temperature, top-k and top-p are not taken silently; what is not given here is greedy.
 */
export const generateOptionsSchema = z
  .strictObject({
    /** Tokens to generate for each prompt at most; fewer where the model's positions end before. @default 256 */
    maxNewTokens: z.int().min(1).default(256),
    /** Logits are divided by it before a token is drawn; 0 always takes the likeliest token. @default 0 */
    temperature: z.number().min(0).default(0),
    /** Draws among the k likeliest tokens only. @default all */
    topK: z.int().min(1).optional(),
    /**
     * Draws among the fewest likeliest tokens whose probabilities sum to p (nucleus sampling, arXiv 1904.09751).
     * @default all
     */
    topP: z.number().gt(0).max(1).optional(),
    /** What a prompt gets depends on it, on the prompt and on its index, not on the batch. @default 0 */
    seed: seedSchema.default(0n),
    /** Texts that end a continuation; they are left out of it. @default [] */
    stop: z.array(z.string().min(1)).readonly().default([]),
    /** Whether to go on past the model's end tokens. @default false */
    ignoreEos: z.boolean().default(false),
    /** Prompts in one batch. @default 16 */
    batchSize: z.int().min(1).default(16),
    /**
     * Where keys and values rest: `"auto"` is the device where the memory plan has room for them, else the host.
     * @default "auto"
     */
    cache: z.enum(["auto", "device", "host"]).default("auto"),
  })
  .superRefine((options, context) => {
    if (options.temperature > 0) return;
    for (const name of ["topK", "topP"] as const) {
      if (options[name] === undefined) continue;
      const message = "has no effect at temperature 0, which always takes the likeliest token; give a temperature";
      context.addIssue({ code: "custom", path: [name], input: options[name], message });
    }
  });

/** Options of `model.generate` and `model.generateAll`, as a caller writes them. */
export type GenerateOptions = z.input<typeof generateOptionsSchema>;
/** Options of `model.generate` and `model.generateAll` with every default filled in; frozen. */
export type ResolvedGenerateOptions = Frozen<z.output<typeof generateOptionsSchema>>;
