/** What `adapter_config.json` says of an adapter, in the fields of PEFT. */
import type { AdapterShape, LoraModule, LoraShape, PrefixShape } from "../contents.js";
import type { HeadSpec } from "../../models/head.js";
import { linearLayers } from "../lora.js";
import { type AdapterBase, keyColumns } from "./base.js";

type Fields = Readonly<Record<string, unknown>>;

/** The version whose fields these are. */
const PEFT_VERSION = "0.21.0";

const TASK: Readonly<Record<HeadSpec["kind"], string>> = {
  causal: "CAUSAL_LM",
  classification: "SEQ_CLS",
  spans: "QUESTION_ANS",
};

/** Of every kind, what the fields are where nothing sets them. */
const COMMON: Fields = {
  auto_mapping: null,
  inference_mode: true,
  modules_to_save: null,
  peft_version: PEFT_VERSION,
  revision: null,
};

const LORA: Fields = {
  ...COMMON,
  alora_invocation_tokens: null,
  alpha_pattern: {},
  arrow_config: null,
  bias: "none",
  corda_config: null,
  ensure_weight_tying: false,
  eva_config: null,
  exclude_modules: null,
  init_lora_weights: true,
  kasa_config: null,
  layer_replication: null,
  layers_pattern: null,
  layers_to_transform: null,
  loftq_config: {},
  lora_bias: false,
  lora_dropout: 0,
  lora_ga_config: null,
  megatron_config: null,
  megatron_core: "megatron.core",
  monteclora_config: null,
  peft_type: "LORA",
  qalora_group_size: 16,
  rank_pattern: {},
  target_parameters: null,
  trainable_token_indices: null,
  use_bdlora: null,
  use_dora: false,
  use_qalora: false,
  use_rslora: false,
  velora_config: null,
};

const PREFIX: Fields = {
  ...COMMON,
  init_weights: null,
  num_transformer_submodules: 1,
  peft_type: "PREFIX_TUNING",
  prefix_projection: false,
};

/** What there is to say of an adapter. */
export type AdapterDescription = AdapterShape & {
  /** That of the folder it came from; {}: it came from none. */
  readonly config: Fields;
};

export interface Described extends AdapterBase {
  readonly head: HeadSpec;
  /** What the base was loaded as. */
  readonly name: string;
}

/** The config of an adapter: that of the folder it came from, or a new one, with the name of its base. */
export function peftConfig(contents: AdapterDescription, base: Described): Fields {
  const fields = Object.hasOwn(contents.config, "peft_type") ? contents.config : newConfig(contents, base);
  return { ...fields, base_model_name_or_path: base.name };
}

function newConfig(contents: AdapterDescription, base: Described): Fields {
  const fields = contents.kind === "lora" ? loraFields(contents, base) : prefixFields(contents, base);
  return { ...fields, task_type: TASK[base.head.kind] };
}

function loraFields({ modules, alsoTrained }: LoraShape, base: Described): Fields {
  const rank = usual(modules.map((module) => module.rank));
  const alpha = usual(modules.map(alphaOf));
  const pattern = (value: (module: LoraModule) => number, otherwise: number) =>
    Object.fromEntries(modules.filter((m) => value(m) !== otherwise).map((m) => [m.module, value(m)]));
  const changed = new Set(modules.map(({ module }) => module));
  const own = linearLayers(base.recording).filter(({ module }) => changed.has(module));
  return {
    ...LORA,
    fan_in_fan_out: own.some(({ transposed }) => transposed),
    r: rank,
    lora_alpha: alpha,
    rank_pattern: pattern((module) => module.rank, rank),
    alpha_pattern: pattern(alphaOf, alpha),
    target_modules: targetsOf(changed, base),
    modules_to_save: alsoTrained.length === 0 ? null : [...new Set(alsoTrained.map((n) => n.replace(/\.[^.]*$/, "")))],
  };
}

/** PEFT divides by the rank again, and has to come to the same scale. */
function alphaOf({ rank, scale }: LoraModule): number {
  const alpha = Number((scale * rank).toPrecision(12));
  return alpha / rank === scale ? alpha : scale * rank;
}

/** What most of them are. */
function usual(values: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  const most = Math.max(...counts.values());
  return [...counts].find(([, count]) => count === most)?.[0] ?? 1;
}

/** The last parts of the names where they mean these layers and no others, else the whole names. */
function targetsOf(changed: ReadonlySet<string>, base: AdapterBase): readonly string[] {
  const endOf = (module: string) => module.slice(module.lastIndexOf(".") + 1);
  const ends = new Set([...changed].map(endOf));
  const meant = linearLayers(base.recording).filter(({ module }) => ends.has(endOf(module)));
  return meant.every(({ module }) => changed.has(module)) ? [...ends] : [...changed];
}

function prefixFields({ tokens }: PrefixShape, base: Described): Fields {
  const keys = keyColumns(base);
  if (keys === null) throw new Error("a prefix needs layers whose keys are of one width");
  return {
    ...PREFIX,
    encoder_hidden_size: keys.columns,
    num_attention_heads: keys.heads,
    num_layers: keys.layers,
    num_virtual_tokens: tokens,
    token_dim: keys.columns,
  };
}
