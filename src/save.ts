/** The folder of a model, or of the adapter over it, written from the weights of a session. */
import { writeAdapter } from "./adapters/peft/write.js";
import { baseOf } from "./adapters/request.js";
import { type FloatType, floatOf, TORCH_DTYPE } from "./base/dtype.js";
import { type TensorSource, writeCheckpoint } from "./checkpoint/index.js";
import { weightSources } from "./checkpoint/weights.js";
import type { Loaded } from "./loaded.js";
import { isOfAdapter } from "./ops/parameter.js";

export interface SaveOptions {
  /** Each tensor in its wire dtype, of 8 bits as bf16, which loses no bit, or all in one. @default "wire" */
  readonly dtype?: FloatType | "wire" | undefined;
  /** Of the files of a whole model. */
  readonly maxShardBytes?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Stands between every tensor and the file. */
  readonly through?: ((tensor: TensorSource) => TensorSource) | undefined;
  /** Small files that stand beside the weights, by name; called when every tensor has been read. */
  readonly also?: (() => Readonly<Record<string, string>>) | undefined;
}

/**
 * Writes a folder with every update that was taken, atomically: of an adapter PEFT's, which does not hold the base,
 * until it is merged; else Hugging Face's. @throws Zo2Error ZO2_ERR_IO and others
 */
export async function saveWeights(loaded: Loaded, dir: string, o: SaveOptions = {}): Promise<void> {
  await loaded.session.flush();
  await (loaded.adapter === null || loaded.session.retired ? saveModel(loaded, dir, o) : saveAdapter(loaded, dir, o));
}

async function saveModel(loaded: Loaded, dir: string, o: SaveOptions): Promise<void> {
  const { session, definition, parameters } = loaded;
  const dtype = o.dtype ?? "wire";
  const stored = TORCH_DTYPE[dtype === "wire" ? floatOf(session.wire) : dtype];
  const { dtype: newer, ...config } = loaded.config;
  const own = parameters.slice(0, definition.parameters.length);
  const tensors = weightSources(session.store, session.units, own, dtype);
  await writeCheckpoint(dir, {
    tensors: o.through === undefined ? tensors : tensors.map(o.through),
    config: newer === undefined ? { ...config, torch_dtype: stored } : { ...config, dtype: stored },
    copyFrom: loaded.dir,
    maxShardBytes: o.maxShardBytes,
    signal: o.signal,
    also: o.also,
  });
}

async function saveAdapter(loaded: Loaded, dir: string, o: SaveOptions): Promise<void> {
  const { session, definition, parameters, adapter, name } = loaded;
  if (adapter === null) return;
  const own = weightSources(session.store, session.units, parameters.filter(isOfAdapter), o.dtype ?? "wire");
  const tensors = o.through === undefined ? own : own.map(o.through);
  const base = { ...baseOf(definition, parameters), head: definition.head, name };
  await writeAdapter(dir, { ...adapter.shape, config: adapter.config }, tensors, base, o);
}
