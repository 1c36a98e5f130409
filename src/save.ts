/** The folder of a model, written from the weights of a session. */
import { type FloatType, floatOf, TORCH_DTYPE } from "./base/dtype.js";
import { type TensorSource, writeCheckpoint } from "./checkpoint/index.js";
import { weightSources } from "./checkpoint/weights.js";
import type { Loaded } from "./loaded.js";

export interface SaveOptions {
  /** Each tensor in its wire dtype, of 8 bits as bf16, which loses no bit, or all in one. @default "wire" */
  readonly dtype?: FloatType | "wire" | undefined;
  readonly maxShardBytes?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Stands between every tensor and the file. */
  readonly through?: ((tensor: TensorSource) => TensorSource) | undefined;
  /** Small files that stand beside the weights, by name; called when every tensor has been read. */
  readonly also?: (() => Readonly<Record<string, string>>) | undefined;
}

/** Writes a Hugging Face folder with every update that was taken, atomically. @throws Zo2Error ZO2_ERR_IO and others */
export async function saveWeights(loaded: Loaded, dir: string, o: SaveOptions = {}): Promise<void> {
  const { session, parameters } = loaded;
  await session.flush();
  const dtype = o.dtype ?? "wire";
  const stored = TORCH_DTYPE[dtype === "wire" ? floatOf(session.wire) : dtype];
  const { dtype: newer, ...config } = loaded.config;
  const tensors = weightSources(session.store, session.units, parameters, dtype);
  await writeCheckpoint(dir, {
    tensors: o.through === undefined ? tensors : tensors.map(o.through),
    config: newer === undefined ? { ...config, torch_dtype: stored } : { ...config, dtype: stored },
    copyFrom: loaded.dir,
    maxShardBytes: o.maxShardBytes,
    signal: o.signal,
    also: o.also,
  });
}
