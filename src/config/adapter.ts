import { resolve } from "node:path";
import { z } from "zod";

/** LoRA (arXiv 2106.09685): a product of two narrow matrices is added to each of some linear layers. */
const loraSchema = z.strictObject({
  name: z.literal("lora"),
  /** Rows of A and columns of B. @default 8 */
  rank: z.int().min(1).max(65536).default(8),
  /** The product counts alpha / rank times. @default 16 */
  alpha: z.number().positive().default(16),
  /**
   * Linear layers that are changed, as PEFT's `target_modules`: the end of their names at a dot, `*` for any text, or
   * `"all-linear"` alone for all but the head. @default the projections of queries and values, of GPT-2 c_attn
   */
  targets: z.array(z.string().min(1)).min(1).readonly().optional(),
  /** Of the first values of A: 0 .. 2^53 - 1. B begins as 0, so that the model is its base at first. @default 0 */
  seed: z.int().min(0).default(0),
});

/** Prefix tuning (arXiv 2101.00190): every layer's attention sees keys and values in front of every sequence. */
const prefixSchema = z.strictObject({
  name: z.literal("prefix"),
  /** Of each layer, how many; a sequence may be as many tokens shorter. @default 5 */
  tokens: z.int().min(1).max(65536).default(5),
  /**
   * Of the tokens drawn from the vocabulary whose keys and values, as the base makes them, are the first: 0 .. 2^53 -
   * 1. @default 0
   */
  seed: z.int().min(0).default(0),
});

/** Where it is, wherever a run is taken up again. */
const folderSchema = z
  .string()
  .min(1)
  .transform((folder) => resolve(folder));

/** An adapter that PEFT, or `save`, has written: its shape and its first values come from its files. */
const storedSchema = z.strictObject({
  name: z.literal("peft"),
  /** With `adapter_config.json` and `adapter_model.safetensors`. */
  folder: folderSchema,
});

/** What option `adapter` takes; a text is the folder of `"peft"`. */
export const adapterSchema = z.union([
  folderSchema.transform((folder) => ({ name: "peft" as const, folder })),
  z.discriminatedUnion("name", [loraSchema, prefixSchema, storedSchema]),
]);

export type AdapterOptions = z.input<typeof adapterSchema>;
export type ResolvedAdapterOptions = z.output<typeof adapterSchema>;
