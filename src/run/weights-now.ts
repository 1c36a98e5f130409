import { Zo2Error } from "../base/errors.js";
import { Hasher } from "../base/hash.js";
import { weightSources } from "../checkpoint/weights.js";
import type { Loaded } from "../loaded.js";
import { fixedParameters, type Parameter } from "../ops/parameter.js";

/** Bytes of a tensor that are in memory at once while it is hashed. */
const PIECE_BYTES = 8 * 2 ** 20;

/**
 * A model with the fingerprints of its weights as they are now: its checkpoint's, as long as no step was taken, and
 * those of a base under an adapter as long as nothing was merged into it.
 */
export async function asItIs(loaded: Loaded, signal?: AbortSignal): Promise<Loaded> {
  if (loaded.session.untouched) return loaded;
  const fixed = loaded.session.holdsBase ? fixedParameters(loaded.parameters) : new Set<Parameter>();
  const changing = loaded.parameters.filter((parameter) => !fixed.has(parameter));
  return { ...loaded, fingerprints: new Map([...loaded.fingerprints, ...(await hashesOf(loaded, changing, signal))]) };
}

/** Fingerprints of the weights as they are, in their wire dtypes: what a checkpoint of them would have. */
async function hashesOf(
  { session }: Loaded,
  parameters: readonly Parameter[],
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<Parameter, string>> {
  await session.flush();
  const hashes = new Map<Parameter, string>();
  const piece = new Uint8Array(PIECE_BYTES);
  for (const [i, source] of weightSources(session.store, session.units, parameters, "wire").entries()) {
    const hasher = await Hasher.create();
    for (let done = 0; done < source.bytes; done += PIECE_BYTES) {
      if (signal?.aborted === true)
        throw new Zo2Error("ZO2_ERR_ABORTED", "the replay was stopped", { cause: signal.reason });
      const part = piece.subarray(0, Math.min(PIECE_BYTES, source.bytes - done));
      await source.read(done, part);
      hasher.update(part);
    }
    const parameter = parameters[i];
    if (parameter !== undefined) hashes.set(parameter, hasher.digest());
  }
  return hashes;
}
