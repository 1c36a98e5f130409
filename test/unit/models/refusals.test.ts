import { defineModel } from "../../../src/models/index.js";
import { failure } from "../checkpoint/support.js";
import { configOf, define, MODELS, opsOf, readFixture, type Config } from "./support.js";

const countOf = (name: string, change: Config = {}) =>
  define(name, change).parameters.reduce((sum, p) => sum + p.shape.reduce((a, b) => a * b, 1), 0);
const refused = (...parts: string[]) => failure("ZO2_ERR_MODEL_UNSUPPORTED", ...parts);

test.each(MODELS)(
  "the config.json of the fixture %s is accepted, and says its family, vocabulary and positions",
  (name) => {
    const config = configOf(name);
    const definition = define(name);
    expect(definition.family).toBe(config["model_type"]);
    expect(definition.vocabSize).toBe(config["vocab_size"]);
    expect(definition.maxPositions).toBe(config["max_position_embeddings"] ?? config["n_positions"]);
  },
);

test.each([null, [], "llama", 3])("what is no JSON object is refused (%j)", (config) => {
  expect(() => defineModel(config)).toThrow(refused("not a JSON object"));
});

const yarn = { rope_type: "yarn", factor: 4, original_max_position_embeddings: 32 };
const longrope = { type: "longrope", short_factor: [1], long_factor: [2], factor: 4 };
const fp8 = { quant_method: "fp8" };

/** A fixture, what is changed in it, and what the message has to name: the field, and where it helps the value. */
const REFUSED: readonly (readonly [string, Config, string[]])[] = [
  ["llama", { model_type: "mamba" }, ["model_type", "mamba", "opt, gpt2, llama"]],
  ["llama", { model_type: undefined }, ["model_type"]],
  ["llama", { model_type: "constructor" }, ["model_type", "constructor"]],
  ["llama", { architectures: ["LlamaForTokenClassification"] }, ["architectures", "LlamaForTokenClassification"]],
  ["gpt2", { architectures: ["GPT2DoubleHeadsModel"] }, ["architectures", "GPT2DoubleHeadsModel"]],
  ["qwen2-bf16", { architectures: ["Qwen2ForRewardModel"] }, ["architectures", "Qwen2ForRewardModel"]],
  ["gpt2", { architectures: ["GPT2LMHeadModel", "GPT2Model"] }, ["architectures", "GPT2Model"]],
  ["opt", { architectures: ["OPTForMaskedLM"] }, ["architectures", "OPTForMaskedLM"]],
  ["llama", { rope_parameters: { ...yarn, rope_theta: 1e4 } }, ["rope_parameters.rope_type", "yarn", "llama3"]],
  ["llama3-scaled-bf16", { rope_scaling: yarn }, ["rope_scaling.rope_type", "yarn"]],
  ["qwen2-bf16", { rope_scaling: longrope }, ["rope_scaling.rope_type", "longrope"]],
  ["qwen3-bf16", { rope_parameters: { rope_type: "__proto__" } }, ["rope_parameters.rope_type", "__proto__"]],
  ["qwen3-bf16", { rope_parameters: { rope_type: "default", mscale: 0.7 } }, ["rope_parameters.mscale"]],
  ["mistral-window", { rope_scaling: { type: "linear", factor: 2, beta_fast: 32 } }, ["rope_scaling.beta_fast"]],
  ["mistral-window", { rope_scaling: { type: "linear" } }, ["rope_scaling.factor"]],
  ["mistral-window", { rope_scaling: { type: "linear", factor: -2 } }, ["rope_scaling.factor", "-2", "positive"]],
  [
    "llama3-scaled-bf16",
    { rope_scaling: { rope_type: "llama3", factor: 4, low_freq_factor: 1 } },
    ["rope_scaling.high_freq_factor"],
  ],
  ["llama", { rope_scaling: { type: "linear", factor: 2 } }, ["rope_scaling", "rope_parameters"]],
  ["llama", { rope_scaling: yarn }, ["rope_scaling.rope_type", "yarn"]],
  ["llama3-scaled-bf16", { rope_parameters: {} }, ["rope_scaling", "rope_parameters"]],
  ["qwen3-bf16", { rope_parameters: { full_attention: { rope_theta: 1e4 } } }, ["rope_parameters.full_attention"]],
  ["llama", { rope_parameters: { partial_rotary_factor: 1e12 } }, ["rope_parameters.partial_rotary_factor"]],
  ["llama", { rope_parameters: { partial_rotary_factor: 0.25 } }, ["rope_parameters.partial_rotary_factor", "0.25"]],
  ["mistral-window", { rope_scaling: { partial_rotary_factor: 0.5 } }, ["rope_scaling.partial_rotary_factor"]],
  ["llama", { partial_rotary_factor: 0.5 }, ["partial_rotary_factor", "0.5"]],
  ["qwen2-bf16", { partial_rotary_factor: 0.25 }, ["partial_rotary_factor", "0.25"]],
  ["mistral-window", { attention_bias: true }, ["attention_bias", "true"]],
  ["qwen3-bf16", { mlp_bias: true }, ["mlp_bias", "true"]],
  ["mistral-window", { use_sliding_window: false }, ["use_sliding_window", "sliding_window is 16"]],
  ["llama", { max_sequence_length: 0, max_position_embeddings: undefined }, ["max_sequence_length"]],
  ["gpt2", { max_sequence_length: 1024 }, ["max_sequence_length", "gpt2 models"]],
  ["llama", { rope_parameters: { rope_theta: "10000" } }, ["rope_parameters.rope_theta"]],
  ["llama", { rope_interleaved: true }, ["rope_interleaved", "true"]],
  ["qwen2-bf16", { use_mrope: true }, ["use_mrope", "true"]],
  ["llama", { head_dim: 63 }, ["head_dim", "63", "pairs"]],
  ["llama", { head_dim: 1e6 }, ["head_dim", "1000000"]],
  ["llama", { num_key_value_heads: 3 }, ["num_key_value_heads", "3", "num_attention_heads = 2"]],
  ["qwen2-bf16", { num_attention_heads: 3 }, ["num_key_value_heads", "num_attention_heads = 3"]],
  ["qwen2-bf16", { num_attention_heads: 6, hidden_size: 100 }, ["num_attention_heads", "hidden_size = 100"]],
  ["opt", { num_attention_heads: 3 }, ["num_attention_heads", "hidden_size = 128"]],
  ["gpt2", { n_head: 3 }, ["n_head", "n_embd = 128"]],
  ["opt", { activation_function: "gelu_sharp" }, ["activation_function", "gelu_sharp", "relu"]],
  ["gpt2", { activation_function: "toString" }, ["activation_function", "toString"]],
  ["llama", { hidden_act: "mish" }, ["hidden_act", "mish", "silu"]],
  ["opt", { layer_norm_elementwise_affine: false }, ["layer_norm_elementwise_affine"]],
  ["opt", { alibi: true }, ["alibi", "opt models", "ignoreConfigFields"]],
  ["llama", { embedding_multiplier: 12 }, ["embedding_multiplier", "llama models"]],
  ["llama", { layer_types: ["full_attention", "full_attention"] }, ["layer_types"]],
  ["llama", { qk_norm: true }, ["qk_norm"]],
  ["gpt2", { rope_theta: 1e4 }, ["rope_theta", "gpt2 models"]],
  ["qwen2-bf16", { attention_bias: true }, ["attention_bias"]],
  ["llama", { quantization_config: fp8 }, ["quantization_config", "fp8"]],
  ["gpt2", { add_cross_attention: true }, ["add_cross_attention", "true"]],
  ["opt", { pruned_heads: { "0": [1] } }, ["pruned_heads"]],
  ["llama", { attn_logit_softcapping: 50 }, ["attn_logit_softcapping"]],
  ["llama", { final_logit_softcapping: 30 }, ["final_logit_softcapping"]],
  ["llama", { vocab_size: undefined }, ["vocab_size"]],
  ["llama", { vocab_size: null }, ["vocab_size"]],
  ["llama", { vocab_size: "208" }, ["vocab_size"]],
  ["llama", { hidden_size: 12.5 }, ["hidden_size"]],
  ["llama", { intermediate_size: 0 }, ["intermediate_size"]],
  ["opt", { num_hidden_layers: -1 }, ["num_hidden_layers"]],
  ["opt", { num_hidden_layers: 20_000 }, ["num_hidden_layers", "20000"]],
  ["gpt2", { n_positions: 2 ** 53 }, ["n_positions"]],
  ["llama", { rms_norm_eps: 0 }, ["rms_norm_eps"]],
  ["llama", { tie_word_embeddings: "yes" }, ["tie_word_embeddings"]],
  ["llama", { rope_theta: -1, rope_parameters: undefined }, ["rope_theta"]],
  ["qwen3-bf16", { layer_types: ["full_attention"] }, ["layer_types", "num_hidden_layers is 2"]],
  ["qwen3-bf16", { layer_types: ["full_attention", "chunked_attention"] }, ["layer_types", "chunked_attention"]],
  ["qwen3-bf16", { layer_types: ["full_attention", "sliding_attention"] }, ["layer_types", "no sliding_window"]],
  ["mistral-window", { sliding_window: 0 }, ["sliding_window", "0"]],
  ["opt-classify", { problem_type: "ranking" }, ["problem_type", "ranking"]],
  ["opt-classify", { id2label: { 0: "a", 2: "b" } }, ["id2label"]],
  ["opt-classify", { id2label: undefined, num_labels: 0 }, ["num_labels", "0"]],
];

test.each(REFUSED)("%s with %j is refused by the field's name", (name, change, parts) => {
  expect(() => define(name)).not.toThrow();
  expect(() => define(name, change)).toThrow(refused("config.json", ...parts));
});

test("a refusal of an activation lists those that there are", () => {
  const listed = "use one of relu, gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, silu, swish";
  expect(() => define("llama", { hidden_act: "mish" })).toThrow(refused(listed));
});

test("a refusal of a long value stays short", () => {
  const message = () => define("llama", { strange_table: Array.from({ length: 10_000 }, (_, i) => i) });
  expect(message).toThrow(expect.objectContaining({ message: expect.stringMatching(/^.{1,400}$/s) }));
});

describe("several fields that are wrong", () => {
  const message = (change: Config) => {
    try {
      define("llama", change);
    } catch (error) {
      return (error as Error).message;
    }
    throw new Error("it was accepted");
  };

  test("are all named at once, with the names that were probably meant", () => {
    const text = message({ hiden_size: 128, strange_scale: 2, rms_norm_epsilon: 1e-5, quantization_config: fp8 });
    expect(text).toMatch(
      /^config.json: quantization_config = .* is not supported: it changes what the model computes; /,
    );
    expect(text).toContain("hiden_size = 128 (did you mean hidden_size?)");
    expect(text).toContain("strange_scale = 2, ");
    expect(text).toMatch(/are not known for llama models.*name them in option "ignoreConfigFields"/);
  });

  test("include values that cannot be, and fields that are missing", () => {
    const text = message({ vocab_size: undefined, hidden_size: "x", strange: 1 });
    for (const part of ["vocab_size", 'hidden_size = "x"', "strange = 1"]) expect(text).toContain(part);
  });

  test("are named however many there are, with their values cut short", () => {
    const many = Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`zz_field_${i}`, "x".repeat(500)]));
    const text = message(many);
    for (const name of Object.keys(many)) expect(text).toContain(name);
    expect(text.length).toBeLessThan(3000);
    expect(() => defineModel(configOf("llama", many), Object.keys(many))).not.toThrow();
  });
});

describe("an older or newer config", () => {
  /** As the first conversions of Llama were, in the size of the fixture. */
  const first = {
    ...{ architectures: ["LLaMAForCausalLM"], max_position_embeddings: undefined, rope_parameters: undefined },
    ...{ head_dim: undefined, num_key_value_heads: 1, pad_token_id: -1, torch_dtype: "float16" },
    ...{ transformers_version: "4.27.0.dev0", dtype: undefined, pretraining_tp: undefined, mlp_bias: undefined },
  };

  test("of Llama 1 and Vicuna has 2,048 positions, whichever name it has for them", () => {
    expect(define("llama", { ...first, max_sequence_length: 2048 }).maxPositions).toBe(2048);
    expect(define("llama", first).maxPositions).toBe(2048);
    expect(define("llama", { ...first, max_sequence_length: 1024 }).maxPositions).toBe(1024);
    const both = { ...first, max_sequence_length: 16_384, max_position_embeddings: 4096 };
    expect(define("llama", both).maxPositions).toBe(4096);
    expect(define("llama", { ...first, max_sequence_length: 2048 }).parameters).toEqual(define("llama").parameters);
  });

  test.each([
    ["mistral-window", "max_position_embeddings", 131_072],
    ["qwen2-bf16", "max_position_embeddings", 32_768],
    ["qwen3-bf16", "max_position_embeddings", 32_768],
    ["opt", "max_position_embeddings", 2048],
    ["gpt2", "n_positions", 1024],
  ])("of %s that does not say %s has transformers' own: %i", (name, field, positions) => {
    expect(define(name, { [field]: undefined }).maxPositions).toBe(positions);
  });

  test.each<[string, Config]>([
    ["llama", { attention_bias: false, mlp_bias: false, pretraining_tp: 2, rope_scaling: null }],
    ["llama", { partial_rotary_factor: 1, use_sliding_window: false, sliding_window: null, max_window_layers: 28 }],
    ["llama", { rope_parameters: { rope_theta: 10_000, rope_type: "default", partial_rotary_factor: 1 } }],
    ["llama", { rope_parameters: { rope_theta: 10_000, rope_type: "default", factor: null } }],
    ["llama", { rope_parameters: null, rope_theta: 10_000, rope_scaling: { type: "default" } }],
    ["llama", { architectures: [], tf_legacy_loss: false, keys_to_ignore_at_inference: ["past_key_values"] }],
    ["llama", { quantization_config: null, head_dim: null, num_key_value_heads: 1, attention_bias: null }],
    ["llama", { max_new_tokens: 5, min_p: 0.1, renormalize_logits: true, _attn_implementation: "eager" }],
    ["mistral-window", { attention_bias: false, mlp_bias: false, use_sliding_window: true, layer_types: null }],
    ["mistral-window", { rope_theta: 10_000, rope_scaling: null, attention_dropout: 0.1, _name_or_path: "x" }],
    ["qwen2-bf16", { use_sliding_window: false, sliding_window: 131_072, max_window_layers: 28, use_mrope: false }],
    ["qwen2-bf16", { attention_bias: false, mlp_bias: false, dtype: "bfloat16", torch_dtype: "bfloat16" }],
    ["qwen3-bf16", { attention_bias: false, mlp_bias: false, use_sliding_window: null, max_window_layers: null }],
    ["opt", { learned_embeddings: true, scale_embeddings: false, layerdrop: 0, activation_dropout: 0 }],
    ["opt", { attention_bias: false, word_embed_proj_dim: null, enable_bias: null, prefix: "</s>" }],
    [
      "gpt2",
      {
        n_ctx: 64,
        scale_attn_weights: null,
        predict_special_tokens: true,
        use_mrope: false,
        summary_type: "cls_index",
      },
    ],
  ])("of %s with %j says nothing new", (name, change) => {
    const [plain, changed] = [define(name), define(name, change)];
    expect({ ...changed, record: 0, positionRow: 0 }).toEqual({ ...plain, record: 0, positionRow: 0 });
    const outline = (d: typeof plain) =>
      (["rope", "attention"] as const).flatMap((op) => opsOf(d, op).map(({ attributes }) => attributes));
    expect(outline(changed)).toEqual(outline(plain));
  });
});

describe("a field that zo2 does not know", () => {
  const config = configOf("llama", { strange_scale: 2, stranger: false, unused: null });

  test("passes when the caller vouches for it, and for nothing else", () => {
    expect(() => defineModel(config)).toThrow(refused("strange_scale"));
    expect(() => defineModel(config, ["strange_scale"])).toThrow(refused("stranger"));
    expect(defineModel(config, ["strange_scale", "stranger"]).parameters).toEqual(define("llama").parameters);
  });

  test("passes where it begins with an underscore, or is known to change nothing", () => {
    const harmless = {
      _name_or_path: "x",
      _flash_attn_2_enabled: true,
      eos_token_id: [1, 2],
      use_cache: false,
      attention_dropout: 0.5,
      quantization_config: null,
      rope_interleaved: false,
      is_llama_config: true,
    };
    expect(define("llama", harmless).parameters).toEqual(define("llama").parameters);
  });

  test("an ignored field counts as not given", () => {
    const scaled = configOf("llama3-scaled-bf16");
    const [first] = opsOf(defineModel(scaled), "rope");
    const [plain] = opsOf(defineModel(scaled, ["rope_scaling"]), "rope");
    expect(plain?.attributes.rotary.frequencies).not.toEqual(first?.attributes.rotary.frequencies);
    expect(plain?.attributes.rotary.frequencies[0]).toBe(1);
  });
});

test.each([
  ["llama", { vocab_size: 2 ** 31 - 1, hidden_size: 2 ** 31 - 1, head_dim: 64 }],
  ["opt", { ffn_dim: 2 ** 31 - 2, hidden_size: 2 ** 31 - 2, word_embed_proj_dim: undefined }],
  ["gpt2", { n_embd: 2 ** 31 - 2, n_layer: 10_000 }],
  ["qwen3-bf16", { intermediate_size: 2 ** 31 - 1, hidden_size: 2 ** 20, num_hidden_layers: 3, layer_types: null }],
])("sizes whose weights cannot be counted in a double are refused (%s)", (name, change) => {
  expect(() => define(name, change)).toThrow(refused("weights; at most 2^51"));
});

test("the sizes of OPT-175B and Llama 3.1 405B are accepted, and their weights counted", () => {
  const opt = {
    vocab_size: 50_272,
    hidden_size: 12_288,
    ffn_dim: 49_152,
    num_hidden_layers: 96,
    num_attention_heads: 96,
    max_position_embeddings: 2048,
    word_embed_proj_dim: 12_288,
  };
  // 96 (12 h^2 + 13 h) + (50,272 + 2,050) h + 2 h: Zhang et al. 2022 round it to 175 billion.
  expect(countOf("opt", opt)).toBe(96 * (12 * 12_288 ** 2 + 13 * 12_288) + (50_272 + 2050 + 2) * 12_288);
  const llama = {
    vocab_size: 128_256,
    hidden_size: 16_384,
    intermediate_size: 53_248,
    num_hidden_layers: 126,
    num_attention_heads: 128,
    num_key_value_heads: 8,
    head_dim: 128,
  };
  expect(countOf("llama", llama)).toBe(405_853_388_800);
});

describe("the head", () => {
  test.each(MODELS)("%s predicts what its architecture says", (name) => {
    const kinds: Record<string, string> = {
      "llama-classify": "classification",
      "opt-classify": "classification",
      "opt-qa": "spans",
    };
    expect(define(name).head.kind).toBe(kinds[name] ?? "causal");
  });

  test("of a classifier has the labels in the order of their numbers, and the problem of the config", () => {
    const id2label = Object.fromEntries([..."kjihgfedcba"].map((label, i) => [10 - i, label]));
    const named = { kind: "classification", labels: [..."abcdefghijk"], problem: "single_label_classification" };
    expect(define("opt-classify", { id2label }).head).toEqual(named);
    const several = { labels: ["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3"], problem: "multi_label_classification" };
    expect(define("llama-classify").head).toMatchObject(several);
  });

  test("of one label without a problem is a regression, as in transformers", () => {
    expect(define("opt-classify", { id2label: { 0: "x" }, problem_type: null }).head).toMatchObject({
      problem: "regression",
    });
    const unnamed = define("opt-classify", { id2label: undefined, problem_type: null }).head;
    expect(unnamed).toMatchObject({ labels: ["LABEL_0", "LABEL_1"], problem: "single_label_classification" });
  });

  test.each([
    ["opt", "OPTModel"],
    ["gpt2", "GPT2Model"],
    ["qwen2-bf16", "Qwen2Model"],
    ["llama", undefined],
    ["llama", null],
  ])("of a base model is that of its language model: %s, %s", (name, architecture) => {
    expect(
      define(name, { architectures: typeof architecture === "string" ? [architecture] : architecture }).head,
    ).toEqual({ kind: "causal" });
  });
});

test("parameters are counted as transformers counts them", () => {
  for (const name of MODELS) {
    expect([name, countOf(name)]).toEqual([name, readFixture(name, "expected.json")["parameters"]]);
  }
});
