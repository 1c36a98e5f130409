/** What models of billions of parameters take with nothing but a budget, from their shapes alone. */
import { parseOptions } from "../../../src/config/parse.js";
import { type PlanModelOptions, planOptionsSchema } from "../../../src/config/plan.js";
import { planConfig } from "../../../src/planner/plan-model.js";

const GIB = 2 ** 30;
/** Layers and width (arXiv 2205.01068, table 1). */
const SHAPES = {
  "OPT-13B": [40, 5120, 40],
  "OPT-30B": [48, 7168, 56],
  "OPT-66B": [64, 9216, 72],
  "OPT-175B": [96, 12288, 96],
} as const;

function planned(name: keyof typeof SHAPES, offload: PlanModelOptions["offload"], hardware?: string) {
  const [layers, hidden, heads] = SHAPES[name];
  const config = {
    ...{ architectures: ["OPTForCausalLM"], model_type: "opt", torch_dtype: "float16", vocab_size: 50272 },
    ...{ hidden_size: hidden, word_embed_proj_dim: hidden, num_hidden_layers: layers, num_attention_heads: heads },
    ...{ ffn_dim: 4 * hidden, max_position_embeddings: 2048, activation_function: "relu", dropout: 0 },
    ...{ do_layer_norm_before: true, attention_dropout: 0, tie_word_embeddings: true },
    ...{ pad_token_id: 1, bos_token_id: 2, eos_token_id: 2 },
  };
  const options = { dtype: "fp16", maxLength: 2048, offload, ...(hardware === undefined ? {} : { hardware }) };
  const { adapter: _, ...o } = parseOptions(planOptionsSchema, options, "plan options");
  return planConfig(name, config, o);
}

test.each([
  ["OPT-175B", 3],
  ["OPT-66B", 2],
  ["OPT-30B", 2],
  ["OPT-13B", 2],
] as const)("%s steps on 2,048 tokens in %d GiB, whatever is known of the hardware", (name, gib) => {
  for (const hardware of [undefined, "rtx-4090"]) {
    const plan = planned(name, { deviceMemory: gib * GIB }, hardware);
    expect(plan.deviceBytes).toBeLessThanOrEqual(gib * GIB);
    expect(plan.streamedUnits).toBeGreaterThan(0);
    expect(plan.residentUnits * plan.unitBytes).toBeLessThan(gib * GIB);
    expect(plan.hostBytes).toBeGreaterThan(plan.weightBytes - gib * GIB);
  }
});

test.each([24, 80])("what %d GiB have room for stays there, to within a unit", (gib) => {
  const plan = planned("OPT-66B", { deviceMemory: gib * GIB }, "a100-80gb");
  const left = gib * GIB - plan.deviceBytes;
  expect(left).toBeGreaterThanOrEqual(0);
  expect(left).toBeLessThan(plan.unitBytes);
  expect(plan.residentUnits).toBeGreaterThan(0);
  expect(plan.streamedUnits).toBeGreaterThan(0);
});
