/** Models of any size from their shape, without a checkpoint. */
import type { FloatType } from "../../../src/base/dtype.js";
import { controlLayout, stepStates } from "../../../src/memory/control.js";
import { METHODS } from "../../../src/method/index.js";
import { defineModel, recordModel } from "../../../src/models/index.js";
import { numberParameters } from "../../../src/ops/parameter.js";
import type { ChoiceOptions } from "../../../src/planner/choose.js";
import { workloadOf, type WorkloadOptions } from "../../../src/planner/workload.js";
import { type Hardware, hardwareNamed } from "../../../src/simulate/hardware.js";

export interface OptShape {
  readonly layers: number;
  readonly hidden: number;
  readonly vocab: number;
}

/** `config.json` of an OPT model of this shape. */
export function optConfig({ layers, hidden, vocab }: OptShape): Record<string, unknown> {
  return {
    ...{ architectures: ["OPTForCausalLM"], model_type: "opt", torch_dtype: "float16", vocab_size: vocab },
    ...{ hidden_size: hidden, word_embed_proj_dim: hidden, num_hidden_layers: layers, num_attention_heads: 4 },
    ...{ ffn_dim: 4 * hidden, max_position_embeddings: 256, activation_function: "relu", dropout: 0 },
    ...{ do_layer_norm_before: true, attention_dropout: 0, tie_word_embeddings: true },
    ...{ pad_token_id: 1, bos_token_id: 2, eos_token_id: 2 },
  };
}

export function recordOpt(shape: OptShape) {
  const definition = defineModel(optConfig(shape));
  return { definition, recording: recordModel(definition, numberParameters(definition.parameters)) };
}

export const H100 = hardwareNamed("h100") as Hardware;

/** A step of MeZO on sequences of 64 tokens. */
export function choiceOptions(
  { definition }: ReturnType<typeof recordOpt>,
  {
    wire = "fp32",
    batch = {},
    ...o
  }: Partial<ChoiceOptions> & { wire?: FloatType; batch?: Partial<WorkloadOptions> } = {},
): ChoiceOptions {
  const { probes } = METHODS["mezo-sgd"].step({ eps: 1, directions: 1 });
  const { capacity, output, symbols } = workloadOf(definition, { batchSize: 1, maxLength: 64, ...batch });
  return {
    ...{ wire, compute: "fp32", pinned: {}, capacity, probes, output, overlap: true, hardware: H100 },
    control: controlLayout(stepStates(1)),
    step: { noise: "gaussian", symbols },
    ...o,
  };
}
