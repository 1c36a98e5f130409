import { readFileSync } from "node:fs";
import { join } from "node:path";
import { openCheckpoint } from "../../../src/checkpoint/index.js";
import { define, fixtureFolder, MODELS, type Config } from "./support.js";

/**
 * The module names of transformers, in the order in which each class creates them: `named_parameters()` walks them so.
 */
const both = (module: string) => [`${module}.weight`, `${module}.bias`];
const weight = (module: string) => [`${module}.weight`];
const layers = (count: number, names: (layer: number) => string[]) =>
  Array.from({ length: count }, (_, i) => names(i)).flat();

const optLayer = (i: number) =>
  [
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.q_proj",
    "self_attn.out_proj",
    "self_attn_layer_norm",
    "fc1",
    "fc2",
    "final_layer_norm",
  ].flatMap((module) => both(`model.decoder.layers.${i}.${module}`));
const opt = (count: number, o: { projected?: boolean } = {}) => [
  ...weight("model.decoder.embed_tokens"),
  ...weight("model.decoder.embed_positions"),
  ...(o.projected === true
    ? ["project_out", "project_in"].flatMap((m) => weight(`model.decoder.${m}`))
    : both("model.decoder.final_layer_norm")),
  ...layers(count, optLayer),
];
const gpt2 = (count: number) => [
  ...weight("transformer.wte"),
  ...weight("transformer.wpe"),
  ...layers(count, (i) =>
    ["ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"].flatMap((m) =>
      both(`transformer.h.${i}.${m}`),
    ),
  ),
  ...both("transformer.ln_f"),
];
interface Gated {
  biased?: readonly string[];
  norms?: boolean;
}
const gated = (count: number, { biased = [], norms = false }: Gated = {}) => [
  ...weight("model.embed_tokens"),
  ...layers(count, (i) => [
    ...["q_proj", "k_proj", "v_proj", "o_proj"].flatMap((m) =>
      (biased.includes(m) ? both : weight)(`model.layers.${i}.self_attn.${m}`),
    ),
    ...(norms ? ["q_norm", "k_norm"].flatMap((m) => weight(`model.layers.${i}.self_attn.${m}`)) : []),
    ...["gate_proj", "up_proj", "down_proj"].flatMap((m) =>
      (biased.includes(m) ? both : weight)(`model.layers.${i}.mlp.${m}`),
    ),
    ...["input_layernorm", "post_attention_layernorm"].flatMap((m) => weight(`model.layers.${i}.${m}`)),
  ]),
  ...weight("model.norm"),
];

const qkv = ["q_proj", "k_proj", "v_proj"];
const ORDER: Readonly<Record<string, readonly string[]>> = {
  opt: opt(2),
  "opt-sharded-fp16": opt(2),
  "opt-bin-sharded-bf16": opt(2),
  "opt-350m-style-bin": opt(2, { projected: true }),
  "opt-classify": [...opt(1), ...weight("score")],
  "opt-qa": [...opt(1), ...both("qa_outputs")],
  gpt2: gpt2(2),
  llama: [...gated(2), ...weight("lm_head")],
  "llama3-scaled-bf16": gated(2),
  "llama-classify": [...gated(1), ...weight("score")],
  "mistral-window": [...gated(2), ...weight("lm_head")],
  "qwen2-bf16": gated(2, { biased: qkv }),
  "qwen3-bf16": gated(2, { norms: true }),
};

const namesOf = (name: string, change: Config = {}) => define(name, change).parameters.map((p) => p.name);

test.each(MODELS)("%s has the parameters of transformers in the order of named_parameters()", (name) => {
  expect(namesOf(name)).toEqual(ORDER[name]);
});

test.each(["A", "B"])("the OPT model %s has the names and shapes that transformers listed", (model) => {
  const trajectories = join(__dirname, "../../fixtures/trajectories");
  const read = (...file: string[]) => JSON.parse(readFileSync(join(trajectories, ...file), "utf8")) as Config;
  const parameters = define("opt", read("models", model, "config.json")).parameters.map((p) => [p.name, p.shape]);
  expect(parameters).toEqual(read(`mezo-ones-${model}.json`)["parameter_order"]);
});

test.each(MODELS)("the tensors that the file of %s stores are its parameters, with their shapes", async (name) => {
  const checkpoint = await openCheckpoint(fixtureFolder(name));
  try {
    // What Hugging Face tools put away or add: the prefix of the wrapped model, mask buffers, a tied head.
    const canonical = (stored: string) => {
      if (name === "gpt2") return `transformer.${stored}`;
      return name.startsWith("opt") && stored.startsWith("decoder.") ? `model.${stored}` : stored;
    };
    const definition = define(name);
    const known = new Set(definition.parameters.map((p) => p.name));
    const stored = [...checkpoint.tensors.values()]
      .filter(
        (entry) =>
          !/^h\.\d+\.attn\.(masked_)?bias$/.test(entry.name) &&
          !(entry.name === "lm_head.weight" && !known.has("lm_head.weight")),
      )
      .map((entry) => [canonical(entry.name), entry.shape]);
    expect(Object.fromEntries(definition.parameters.map((p) => [p.name, p.shape]))).toEqual(Object.fromEntries(stored));
  } finally {
    await checkpoint.close();
  }
});

test.each(MODELS)("weight decay concerns the matrices of %s, and neither biases nor the gains of norms", (name) => {
  for (const p of define(name).parameters) expect([p.name, p.decay]).toEqual([p.name, p.shape.length === 2]);
});

describe("a head of its own", () => {
  test.each(["opt", "gpt2", "llama3-scaled-bf16", "qwen2-bf16", "qwen3-bf16"])(
    "comes last in %s where the embedding is not tied",
    (name) => {
      expect(namesOf(name, { tie_word_embeddings: false })).toEqual([...namesOf(name), "lm_head.weight"]);
    },
  );

  test.each([
    ["opt", true],
    ["gpt2", true],
    ["llama", false],
    ["mistral-window", false],
    ["qwen2-bf16", false],
    ["qwen3-bf16", false],
  ])("where %s does not say, it is tied as transformers has it: %s", (name, tied) => {
    expect(namesOf(name, { tie_word_embeddings: undefined }).includes("lm_head.weight")).toBe(!tied);
  });

  test("of a projected OPT reads the projection's columns", () => {
    const last = define("opt-350m-style-bin", { tie_word_embeddings: false }).parameters.at(-1);
    expect(last).toMatchObject({ name: "lm_head.weight", shape: [208, 64] });
  });
});

test(
  "span heads are named after the base model of their class: transformer. for Llama and Qwen, model. for Mistral " +
    "and OPT",
  () => {
    const first = (name: string, architecture: string) => namesOf(name, { architectures: [architecture] })[0];
    expect(first("llama", "LlamaForQuestionAnswering")).toBe("transformer.embed_tokens.weight");
    expect(first("qwen2-bf16", "Qwen2ForQuestionAnswering")).toBe("transformer.embed_tokens.weight");
    expect(first("qwen3-bf16", "Qwen3ForQuestionAnswering")).toBe("transformer.embed_tokens.weight");
    expect(first("mistral-window", "MistralForQuestionAnswering")).toBe("model.embed_tokens.weight");
    expect(first("opt", "OPTForQuestionAnswering")).toBe("model.decoder.embed_tokens.weight");
  },
);

test("biases that a config turns on stand behind their weights", () => {
  expect(namesOf("llama", { attention_bias: true, mlp_bias: true })).toEqual([
    ...gated(2, { biased: [...qkv, "o_proj", "gate_proj", "up_proj", "down_proj"] }),
    "lm_head.weight",
  ]);
  expect(namesOf("qwen3-bf16", { attention_bias: true })).toEqual(
    gated(2, { biased: [...qkv, "o_proj"], norms: true }),
  );
  expect(namesOf("opt", { enable_bias: false })).toEqual(opt(2).filter((name) => !/(_proj|fc\d)\.bias$/.test(name)));
});

test("norms and projections of OPT come and go as its variants have them", () => {
  const norm = "model.decoder.final_layer_norm.weight";
  expect(namesOf("opt")).toContain(norm);
  expect(namesOf("opt", { _remove_final_layer_norm: true })).not.toContain(norm);
  expect(namesOf("opt", { do_layer_norm_before: false })).not.toContain(norm);
  expect(namesOf("opt", { word_embed_proj_dim: 32 })).toEqual(
    expect.arrayContaining(["model.decoder.project_in.weight", norm]),
  );
});
