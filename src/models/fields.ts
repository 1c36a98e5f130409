import { z } from "zod";
import { Zo2Error } from "../base/errors.js";
import { nearestName } from "../base/nearest.js";

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
  "attention_probs_dropout_prob",
  "hidden_dropout_prob",
  "embedding_dropout",
  "tf_legacy_loss",
  "xla_device",
  "is_composition",
  "keys_to_ignore_at_inference",
  "base_model_tp_plan",
  "base_model_pp_plan",
  "use_return_dict",
  "output_logits",
  "renormalize_logits",
  "max_new_tokens",
  "min_new_tokens",
  "min_p",
  "penalty_alpha",
  "epsilon_cutoff",
  "eta_cutoff",
  "guidance_scale",
  "low_memory",
  "max_time",
  "force_words_ids",
  "encoder_repetition_penalty",
  "cache_implementation",
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
  rope_scaling_factor: [1],
  rotary_pct: [1],
  partial_rotary_factor: [1],
  attention_bias: [false],
  mlp_bias: [false],
  qkv_bias: [false],
  use_qk_norm: [false],
  qk_norm: [false],
  use_sliding_window: [false],
  learned_embeddings: [true],
  scale_embeddings: [false],
};

/**
 * Reads the fields of a `config.json` that a family uses, and refuses, by name, every other one that might change the
 * mathematics: all that are wrong at once.
 *
 * @param schema the fields that the family reads, with Hugging Face's defaults.
 * @param harmless fields of this family on which its arithmetic does not depend.
 * @throws Zo2Error ZO2_ERR_MODEL_UNSUPPORTED naming the fields
 */
export function readFields<S extends z.ZodObject>(
  family: string,
  raw: Fields,
  schema: S,
  harmless: readonly string[] = [],
): z.output<S> {
  const known = new Set([...Object.keys(schema.shape), ...HARMLESS, ...Object.keys(NEUTRAL), ...harmless]);
  const changing: string[] = [];
  const unknown: string[] = [];
  for (const [field, value] of Object.entries(raw)) {
    // Null is "not used", whatever the field is.
    if (value === null || Object.hasOwn(schema.shape, field)) continue;
    if (field.startsWith("_") || HARMLESS.has(field) || harmless.includes(field)) continue;
    const neutral = Object.hasOwn(NEUTRAL, field) ? NEUTRAL[field] : undefined;
    if (neutral === undefined) unknown.push(field);
    else if (!neutral.some((v) => JSON.stringify(v) === JSON.stringify(value))) changing.push(field);
  }
  // Transformers reads null as "not given" where null has no meaning of its own.
  const given = Object.fromEntries(
    Object.entries(raw).filter(
      ([field, value]) =>
        value !== null || (Object.hasOwn(schema.shape, field) && schema.shape[field]?.safeParse(null).success === true),
    ),
  );
  const parsed = schema.safeParse(given);
  if (parsed.success && changing.length + unknown.length === 0) return parsed.data;
  const issues = parsed.success ? [] : parsed.error.issues;
  const few = changing.length + unknown.length + issues.length <= 3;
  const shown = (field: string) => `${field} = ${shortened(raw[field], few ? 120 : 40)}`;
  const problems = changing.map((field) => `${shown(field)} is not supported: it changes what the model computes`);
  if (unknown.length > 0) {
    const one = unknown.length === 1;
    const named = unknown.map((field) => {
      const near = nearestName(field, known);
      return shown(field) + (near === undefined ? "" : ` (did you mean ${near}?)`);
    });
    problems.push(
      `${named.join(", ")} ${one ? "is" : "are"} not known for ${family} models, and ${one ? "it" : "they"} may ` +
        `change what they compute; if ${one ? "it does" : "they do"} not, name ${one ? "it" : "them"} in option ` +
        '"ignoreConfigFields"',
    );
  }
  for (const { path, message } of issues) {
    const field = path.join(".");
    problems.push(
      `${field} = ${shortened(raw[field], few ? 120 : 40)}: ${message}; a model of type ${family} needs it`,
    );
  }
  throw new Zo2Error("ZO2_ERR_MODEL_UNSUPPORTED", `config.json: ${problems.join("; ")}`);
}

/** The error for a field whose value is not supported. */
export function unsupported(field: string, value: unknown, why: string): Zo2Error {
  return new Zo2Error(
    "ZO2_ERR_MODEL_UNSUPPORTED",
    `config.json: ${field} = ${shortened(value, 120)} is not supported: ${why}`,
  );
}

function shortened(value: unknown, most: number): string {
  const text = JSON.stringify(value) ?? "(missing)";
  return text.length > most ? `${text.slice(0, most - 3)}...` : text;
}

/** A count in a `config.json`: from 1 to 2^31 - 1. */
export const size = z
  .number()
  .int()
  .positive()
  .max(2 ** 31 - 1);
