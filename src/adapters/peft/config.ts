/** `adapter_config.json`: what PEFT says of an adapter, and what of it can be computed here. */
import { join } from "node:path";
import { z } from "zod";
import { Zo2Error } from "../../base/errors.js";
import { readJsonFile } from "../../base/files.js";
import { isRecord } from "../../base/guards.js";
import { ADAPTER_CONFIG_FILE, broken } from "../../checkpoint/index.js";

type Fields = Readonly<Record<string, unknown>>;

const size = z
  .number()
  .int()
  .positive()
  .max(2 ** 31 - 1);
const names = z.union([z.string(), z.array(z.string())]);

const loraSchema = z.object({
  r: size.default(8),
  lora_alpha: z.number().default(8),
  use_rslora: z.boolean().default(false),
  rank_pattern: z.record(z.string(), size).default({}),
  alpha_pattern: z.record(z.string(), z.number()).default({}),
  target_modules: names.optional(),
  exclude_modules: names.optional(),
  layers_to_transform: z.union([z.int(), z.array(z.int())]).optional(),
  layers_pattern: names.optional(),
  modules_to_save: z.array(z.string()).default([]),
});

const prefixSchema = z.object({
  num_virtual_tokens: size,
  num_layers: size,
  token_dim: size,
  num_attention_heads: size.optional(),
});

export type LoraConfig = z.output<typeof loraSchema>;
export type PrefixConfig = z.output<typeof prefixSchema>;

/** What a folder's config says: of its kind as `fields`, and the whole of it. */
export type PeftConfig = { readonly file: string; readonly raw: Fields } & (
  | { readonly kind: "lora"; readonly fields: LoraConfig }
  | { readonly kind: "prefix"; readonly fields: PrefixConfig }
);

/** Where an adapter comes from and how it was begun and trained: its mathematics do not depend on them. */
const HARMLESS = [
  ...["peft_type", "peft_version", "task_type", "base_model_name_or_path", "revision", "auto_mapping"],
  ...["inference_mode"],
];

interface Kind<S extends z.ZodObject> {
  readonly schema: S;
  readonly harmless: readonly string[];
  /** Fields that change the mathematics, and the only values besides null with which they do not. */
  readonly neutral: Readonly<Record<string, readonly unknown[]>>;
}

const LORA: Kind<typeof loraSchema> = {
  schema: loraSchema,
  // A is stored as [rank, inputs] and B as [outputs, rank], whatever `fan_in_fan_out` says of the base's weight.
  harmless: [
    ...["fan_in_fan_out", "lora_dropout", "megatron_core", "qalora_group_size", "runtime_config", "loftq_config"],
    ...["eva_config", "corda_config", "lora_ga_config"],
  ],
  neutral: {
    bias: ["none"],
    // Others begin by taking something away from the base.
    init_lora_weights: [true, false, "gaussian", "eva"],
    use_dora: [false],
    use_qalora: [false],
    use_bdlora: [false],
    lora_bias: [false],
    layer_replication: [[]],
    alora_invocation_tokens: [],
    arrow_config: [],
    kasa_config: [],
    megatron_config: [],
    monteclora_config: [],
    velora_config: [],
    target_parameters: [[]],
    trainable_token_indices: [],
    ensure_weight_tying: [false],
  },
};

const PREFIX: Kind<typeof prefixSchema> = {
  schema: prefixSchema,
  harmless: ["encoder_hidden_size", "init_weights"],
  neutral: { prefix_projection: [false], num_transformer_submodules: [1], modules_to_save: [[]] },
};

/**
 * Reads the config of an adapter.
 * @throws Zo2Error ZO2_ERR_CHECKPOINT where there is none, or its fields are not what they have to be;
 *   ZO2_ERR_MODEL_UNSUPPORTED for another kind of adapter, or naming the fields that change the mathematics and are not
 *   supported
 */
export async function readPeftConfig(dir: string): Promise<PeftConfig> {
  const file = join(dir, ADAPTER_CONFIG_FILE);
  const raw = await readJsonFile(file, "ZO2_ERR_CHECKPOINT");
  if (raw === undefined) throw broken(dir, `has no ${ADAPTER_CONFIG_FILE}; give the folder of an adapter of PEFT`);
  if (!isRecord(raw)) throw broken(file, "not a JSON object");
  switch (raw["peft_type"]) {
    case "LORA":
      return { kind: "lora", file, raw, fields: readFields(file, raw, LORA) };
    case "PREFIX_TUNING":
      return { kind: "prefix", file, raw, fields: readFields(file, raw, PREFIX) };
    default:
      throw new Zo2Error(
        "ZO2_ERR_MODEL_UNSUPPORTED",
        `${file}: peft_type = ${shown(raw["peft_type"])} is not supported; LORA and PREFIX_TUNING are`,
      );
  }
}

function readFields<S extends z.ZodObject>(file: string, raw: Fields, kind: Kind<S>): z.output<S> {
  const read = Object.keys(kind.schema.shape);
  const changing = Object.entries(raw).filter(([field, value]) => {
    if (value === null || read.includes(field) || HARMLESS.includes(field) || kind.harmless.includes(field))
      return false;
    const neutral = Object.hasOwn(kind.neutral, field) ? (kind.neutral[field] ?? []) : [];
    // What a later version of PEFT adds is not in use where it is empty.
    return !isEmpty(value) && !neutral.some((other) => shown(other) === shown(value));
  });
  if (changing.length > 0) {
    const fields = changing.map(([field, value]) => `${field} = ${shown(value)}`).join(", ");
    const [are, them] = changing.length === 1 ? ["is", "it"] : ["are", "them"];
    throw new Zo2Error(
      "ZO2_ERR_MODEL_UNSUPPORTED",
      `${file}: ${fields} ${are} not supported: what the adapter computes depends on ${them}`,
    );
  }
  // Null is "not given", whatever the field is.
  const given = Object.fromEntries(
    Object.entries(raw).filter(([field, value]) => value !== null && read.includes(field)),
  );
  const parsed = kind.schema.safeParse(given);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => {
    const field = path.join(".");
    return `${field} = ${shown(raw[String(path[0])])}: ${message}`;
  });
  throw broken(file, problems.join("; "));
}

function isEmpty(value: unknown): boolean {
  return value === false || (typeof value === "object" && value !== null && Object.keys(value).length === 0);
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? "(missing)";
  return text.length > 120 ? `${text.slice(0, 117)}...` : text;
}
