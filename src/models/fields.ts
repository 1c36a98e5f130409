import { z } from "zod";
import { Zo2Error } from "../base/errors.js";

type Fields = Readonly<Record<string, unknown>>;

/**
 * Fields of a `config.json` that no family's arithmetic depends on: bookkeeping, training-time dropout, initialisation,
 * generation defaults. What is on no list is refused by name, because it may change the mathematics.
 */
const HARMLESS = new Set([
  "architectures",
  "model_type",
  "torch_dtype",
  "dtype",
  "transformers_version",
  "use_cache",
  "return_dict",
  "output_attentions",
  "output_hidden_states",
  "output_past",
  "torchscript",
  "chunk_size_feed_forward",
  "finetuning_task",
  "task_specific_params",
  "gradient_checkpointing",
  "bos_token_id",
  "eos_token_id",
  "pad_token_id",
  "sep_token_id",
  "cls_token_id",
  "unk_token_id",
  "decoder_start_token_id",
  "forced_bos_token_id",
  "forced_eos_token_id",
  "prefix",
  "suppress_tokens",
  "begin_suppress_tokens",
  "bad_words_ids",
  "tokenizer_class",
  "tokenizer_file",
  "auto_map",
  "id2label",
  "label2id",
  "num_labels",
  "problem_type",
  "name_or_path",
  "license",
  "language",
  "datasets",
  "max_length",
  "min_length",
  "do_sample",
  "early_stopping",
  "num_beams",
  "num_beam_groups",
  "diversity_penalty",
  "temperature",
  "top_k",
  "top_p",
  "typical_p",
  "repetition_penalty",
  "length_penalty",
  "no_repeat_ngram_size",
  "encoder_no_repeat_ngram_size",
  "num_return_sequences",
  "remove_invalid_values",
  "exponential_decay_length_penalty",
  "return_dict_in_generate",
  "output_scores",
  "is_decoder",
  "is_encoder_decoder",
  "attn_implementation",
  "initializer_range",
  "init_std",
  "dropout",
  "attention_dropout",
  "activation_dropout",
  "hidden_dropout",
  "resid_pdrop",
  "embd_pdrop",
  "attn_pdrop",
  "classifier_dropout",
  "summary_first_dropout",
  "layerdrop",
  "use_bfloat16",
  "fp16",
  "bf16",
  "pretraining_tp",
  "transformers.js_config",
  "unsloth_fixed",
  "unsloth_version",
  "n_special",
  "predict_special_tokens",
]);

/** Fields of any family that change the mathematics, and the only values besides null with which they do not. */
const NEUTRAL: Readonly<Record<string, readonly unknown[]>> = {
  quantization_config: [],
  pruned_heads: [{}],
  add_cross_attention: [false],
  cross_attention_hidden_size: [],
  tie_encoder_decoder: [false],
  logits_soft_cap: [],
  attn_logit_softcapping: [],
  final_logit_softcapping: [],
  rope_interleaved: [false],
  use_mrope: [false],
};

/**
 * Reads the fields of a `config.json` that a family uses, and refuses, by name, every other one that might change the
 * mathematics.
 *
 * @param schema the fields that the family reads, with Hugging Face's defaults.
 * @param harmless fields of this family on which its arithmetic does not depend.
 * @throws Zo2Error ZO2_ERR_MODEL_UNSUPPORTED naming the field
 */
export function readFields<S extends z.ZodObject>(
  family: string,
  raw: Fields,
  schema: S,
  harmless: readonly string[] = [],
): z.output<S> {
  for (const [field, value] of Object.entries(raw)) {
    if (field.startsWith("_") && !Object.hasOwn(schema.shape, field)) continue;
    if (HARMLESS.has(field) || harmless.includes(field) || Object.hasOwn(schema.shape, field)) continue;
    // Null is "not used", whatever the field is.
    if (value === null) continue;
    const neutral = NEUTRAL[field];
    if (neutral?.some((v) => JSON.stringify(v) === JSON.stringify(value)) === true) continue;
    if (neutral !== undefined) throw unsupported(field, value, "it changes what the model computes");
    throw new Zo2Error(
      "ZO2_ERR_MODEL_UNSUPPORTED",
      `config.json: ${field} = ${shown(value)} is not known for ${family} models, and it may change what they ` +
        "compute; " +
        'if it does not, name it in option "ignoreConfigFields"',
    );
  }
  // Transformers reads null as "not given" where null has no meaning of its own.
  const given = Object.fromEntries(
    Object.entries(raw).filter(
      ([field, value]) =>
        value !== null || (Object.hasOwn(schema.shape, field) && schema.shape[field]?.safeParse(null).success === true),
    ),
  );
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const field = issue?.path.join(".") ?? "?";
  throw new Zo2Error(
    "ZO2_ERR_MODEL_UNSUPPORTED",
    `config.json: ${field} = ${shown(raw[field])}: ${issue?.message ?? "invalid"}; a model of type ${family} needs it`,
  );
}

/** The error for a field whose value is not supported. */
export function unsupported(field: string, value: unknown, why: string): Zo2Error {
  return new Zo2Error("ZO2_ERR_MODEL_UNSUPPORTED", `config.json: ${field} = ${shown(value)} is not supported: ${why}`);
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? "(missing)";
  return text.length > 120 ? `${text.slice(0, 117)}...` : text;
}

/** A count in a `config.json`: from 1 to 2^31 - 1. */
export const size = z
  .number()
  .int()
  .positive()
  .max(2 ** 31 - 1);
