import { openCheckpoint, type Checkpoint } from "./checkpoint/index.js";
import { unusedTensors } from "./checkpoint/names.js";
import { checkTensors, loadWeights, storedType } from "./checkpoint/weights.js";
import { modelOptionsSchema, type ModelOptions, type ResolvedModelOptions } from "./config/model.js";
import { parseOptions } from "./config/parse.js";
import { openDevice, requireAddon } from "./device/open.js";
import { Session } from "./device/session.js";
import { resolveModel, type DownloadProgress } from "./hub/index.js";
import { cutUnits } from "./memory/units.js";
import { Model } from "./model.js";
import type { ModelDefinition } from "./models/family.js";
import { defineModel } from "./models/index.js";
import { numberParameters, type Parameter } from "./ops/parameter.js";
import { createRecorder, type Recording } from "./ops/record.js";
import { hasTokenizer, loadTokenizer } from "./tokenizer/index.js";

export interface LoadOptions {
  /** Stops the download or the loading. */
  readonly signal?: AbortSignal;
  /** Sees the download of a model from the Hub. */
  readonly onProgress?: (progress: DownloadProgress) => void;
}

/** What older checkpoints store beside the weights: causal masks, and rotary tables that follow from the config. */
const BUFFERS = [/\.attn\.(masked_)?bias$/, /\.rotary_emb\.inv_freq$/];

/**
 * Loads a model onto a device: a Hugging Face folder (`config.json`; safetensors or `pytorch_model.bin`; tokenizer), or
 * the id of a repository of the Hugging Face Hub ("org/name", "org/name@revision"), which is downloaded to the cache
 * that all tools of Hugging Face share.
 *
 * @throws Zo2Error ZO2_ERR_CONFIG, ZO2_ERR_ADDON, ZO2_ERR_MODEL_UNSUPPORTED, ZO2_ERR_CHECKPOINT, ZO2_ERR_TOKENIZER,
 *   ZO2_ERR_DEVICE, ZO2_ERR_OUT_OF_MEMORY or ZO2_ERR_MEMORY_BUDGET; nothing is left open then.
 */
export async function loadModel(name: string, options: ModelOptions = {}, o: LoadOptions = {}): Promise<Model> {
  const resolved = parseOptions(modelOptionsSchema, options, "model options");
  // Before gigabytes are downloaded for it.
  requireAddon();
  const dir = await resolveModel(name, { ...resolved.hub, ...o });
  const checkpoint = await openCheckpoint(dir);
  try {
    return await loadFrom(dir, checkpoint, resolved, o.signal);
  } finally {
    await checkpoint.close();
  }
}

async function loadFrom(
  dir: string,
  checkpoint: Checkpoint,
  options: ResolvedModelOptions,
  signal: AbortSignal | undefined,
): Promise<Model> {
  const definition = defineModel(checkpoint.config, options.ignoreConfigFields);
  const { namePrefixes: prefixes, aliases } = definition;
  const parameters = numberParameters(definition.parameters);
  const entries = checkTensors(checkpoint, parameters, prefixes, aliases);
  const used = new Map([...entries].map(([parameter, entry]) => [parameter.name, entry]));
  const unused = unusedTensors(checkpoint, used, { prefixes, aliases, ignored: BUFFERS });
  const tokenizer = (await hasTokenizer(dir)) ? await loadTokenizer(dir) : null;
  const { offload, test } = options;
  const wire = offload.wire === "stored" ? storedType(checkpoint, parameters, prefixes, aliases) : offload.wire;
  const recording = record(definition, parameters);
  const units = cutUnits(recording, { wire, compute: options.dtype, unitBytes: offload.unitBytes });
  const device = await openDevice({
    device: options.device,
    threads: options.threads,
    deviceMemory: offload.deviceMemory,
    delayMicroseconds: test?.delayMicroseconds,
    delaySeed: test?.delaySeed,
    genericKernels: test?.genericKernels,
    tf32: options.tf32,
  });
  const session = await Session.create(device, recording, units, {
    tierOf: (unit) => test?.tier?.(unit) ?? offload.to,
    largestHostArena: test?.largestHostArena,
    ...{ slots: offload.slots, overlap: offload.overlap, deviceMemory: offload.deviceMemory },
    ...{ wire, compute: options.dtype, rounding: options.rounding },
    positionRow: definition.positionRow,
    poison: test?.poison ?? false,
    onPass: test?.onPass,
  });
  try {
    await loadWeights(session.store, units, checkpoint, entries, signal);
    const config = checkpoint.config as Readonly<Record<string, unknown>>;
    return new Model({ dir, config, tokenizer, options, definition, parameters, unused, session });
  } catch (error) {
    await session.dispose();
    throw error;
  }
}

function record(definition: ModelDefinition, parameters: readonly Parameter[]): Recording {
  const recorder = createRecorder(parameters);
  definition.record(recorder);
  return recorder.finish();
}
