/** Fields that a config gives, and transformers' own defaults where it does not, as they reach the recording. */
import { define, opsOf, type Config } from "./support.js";

const GATED = ["llama", "mistral-window", "qwen2-bf16", "qwen3-bf16"];
const one = <T>(values: readonly T[]): T => {
  expect(new Set(values).size).toBe(1);
  return values[0];
};
const attributes = (name: string, op: "rmsNorm" | "layerNorm" | "gatedActivation" | "attention", change: Config) =>
  opsOf(define(name, change), op).map((o) => o.attributes as Record<string, unknown>);

test.each([
  ...GATED.flatMap((name) => [
    [name, "rmsNorm", "rms_norm_eps", undefined, 1e-6] as const,
    [name, "rmsNorm", "rms_norm_eps", 1e-5, 1e-5] as const,
    [name, "rmsNorm", "rms_norm_eps", 3e-4, 3e-4] as const,
  ]),
  ["gpt2", "layerNorm", "layer_norm_epsilon", undefined, 1e-5] as const,
  ["gpt2", "layerNorm", "layer_norm_epsilon", 2e-3, 2e-3] as const,
  // No field of OPT's says it: it is that of torch.nn.LayerNorm.
  ["opt", "layerNorm", "no_field", undefined, 1e-5] as const,
])("the norms of %s: every %s with %s %p has the epsilon %p", (name, op, field, given, want) => {
  const epsilons = attributes(name, op, { [field]: given }).map(({ epsilon }) => epsilon as number);
  expect(one(epsilons)).toBe(want);
});

test.each(GATED.flatMap((name) => [[name, undefined, "silu"] as const, [name, "gelu", "gelu"] as const]))(
  "%s with the activation %p gates with %s",
  (name, given, want) => {
    expect(one(attributes(name, "gatedActivation", { hidden_act: given }).map((a) => a["activation"]))).toBe(want);
  },
);

test.each([
  ["gpt2", undefined, "geluTanh"],
  ["gpt2", "relu", "relu"],
  ["opt", undefined, "relu"],
  ["opt", "gelu", "gelu"],
])("%s with the activation %p has %s between the two matrices of a block", (name, given, want) => {
  const linear = opsOf(define(name, { activation_function: given }), "linear").map((op) => op.attributes.activation);
  expect(linear.filter((activation) => activation !== "none")).toEqual([want, want]);
});

test.each([
  ["llama", { num_key_value_heads: undefined }, 2],
  ["llama", { num_key_value_heads: 1 }, 1],
  ["mistral-window", { num_key_value_heads: undefined, num_attention_heads: 16, head_dim: 6 }, 8],
  ["mistral-window", { num_key_value_heads: 2 }, 2],
])("%s with %j has %d heads of keys", (name, change, want) => {
  expect(one(attributes(name, "attention", change).map(({ kvHeads }) => kvHeads))).toBe(want);
});

test.each([
  ["llama", { head_dim: undefined }, 64],
  ["llama", { head_dim: 32 }, 32],
  ["qwen2-bf16", {}, 64],
  ["qwen3-bf16", { head_dim: undefined }, 128],
])("%s with %j has heads of %d columns, and scores scaled by their root", (name, change, want) => {
  expect(one(attributes(name, "attention", change).map(({ scale }) => scale))).toBeCloseTo(1 / Math.sqrt(want), 7);
  const [query] = define(name, change).parameters.filter((p) => p.name.endsWith("q_proj.weight"));
  const heads = one(attributes(name, "attention", change).map((a) => a["heads"] as number));
  expect(query?.shape[0]).toBe(heads * want);
});

test.each([
  ["llama", undefined, false],
  ["llama", true, true],
  ["mistral-window", undefined, false],
  ["qwen2-bf16", undefined, false],
  ["qwen2-bf16", true, true],
  ["gpt2", undefined, true],
  ["opt", undefined, true],
  ["opt", false, false],
])("%s with tie_word_embeddings %p is tied: %p", (name, given, want) => {
  const { parameters } = define(name, { tie_word_embeddings: given });
  expect(parameters.some((p) => p.name === "lm_head.weight")).toBe(!want);
});

test.each([
  ["llama", {}, []],
  ["llama", { attention_bias: true }, ["q_proj", "k_proj", "v_proj", "o_proj"]],
  ["llama", { mlp_bias: true }, ["gate_proj", "up_proj", "down_proj"]],
  ["mistral-window", {}, []],
  ["qwen2-bf16", {}, ["q_proj", "k_proj", "v_proj"]],
  ["qwen3-bf16", { attention_bias: undefined }, []],
  ["qwen3-bf16", { attention_bias: true }, ["q_proj", "k_proj", "v_proj", "o_proj"]],
])("%s with %j has biases on %j", (name, change, want) => {
  const biases = define(name, change).parameters.flatMap(({ name: full }) =>
    /layers\.0\..*_proj\.bias$/.test(full) ? [full.split(".").at(-2)] : [],
  );
  expect(biases.sort()).toEqual([...want].sort());
});
