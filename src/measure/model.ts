/** Small models without a checkpoint, on which a device's figures are measured. */
import type { FloatType } from "../base/dtype.js";
import type { DeviceChoice } from "../device/open.js";
import { openDevice } from "../device/open.js";
import { Session } from "../device/session.js";
import { cutUnits } from "../memory/units.js";
import { defineModel, recordModel } from "../models/index.js";
import type { ModelDefinition } from "../models/family.js";
import { numberParameters } from "../ops/parameter.js";

/** Of a Llama, which has every kind of op that costs something. */
export interface ModelShape {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly ffn: number;
  readonly vocab: number;
  readonly positions: number;
}

export interface OpenModel extends AsyncDisposable {
  readonly session: Session;
  readonly definition: ModelDefinition;
}

/** Streams over one lane, so that each command has the device for itself. Its weights are zeros. */
export async function openModel(shape: ModelShape, choice: DeviceChoice, dtype: FloatType): Promise<OpenModel> {
  const definition = defineModel({
    ...{ architectures: ["LlamaForCausalLM"], model_type: "llama", vocab_size: shape.vocab },
    ...{ hidden_size: shape.hidden, intermediate_size: shape.ffn, num_hidden_layers: shape.layers },
    ...{ num_attention_heads: shape.heads, max_position_embeddings: shape.positions, tie_word_embeddings: false },
  });
  const recording = recordModel(definition, numberParameters(definition.parameters));
  const units = cutUnits(recording, { wire: dtype, compute: dtype });
  const session = await Session.create(await openDevice(choice), recording, units, {
    ...{
      tierOf: () => "host",
      slots: 2,
      overlap: false,
      prepareAhead: "off",
      activations: "device",
      writeBackEvery: 1,
    },
    ...{ wire: dtype, compute: dtype, rounding: "nearest", positionRow: definition.positionRow, poison: false },
  });
  return { session, definition, [Symbol.asyncDispose]: () => session.dispose() };
}
