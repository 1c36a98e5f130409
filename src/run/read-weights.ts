import { openCheckpoint } from "../checkpoint/index.js";
import { checkTensors, loadWeights } from "../checkpoint/weights.js";
import { Zo2Error } from "../base/errors.js";
import type { Loaded } from "../loaded.js";

/**
 * Reads the weights of a folder into the place of those that are there, behind what is in flight.
 * @param hashes of every tensor's stored bytes, as they have to be.
 * @param isBase whether these are the weights that the model was loaded with.
 * @throws Zo2Error ZO2_ERR_CHECKPOINT for files that are not whole, or have other values; the weights are none then
 */
export async function readWeights(
  loaded: Loaded,
  dir: string,
  hashes: (name: string) => string | undefined,
  isBase: boolean,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { session, parameters, definition } = loaded;
  const checkpoint = await openCheckpoint(dir);
  try {
    const entries = checkTensors(checkpoint, parameters, definition.namePrefixes, definition.aliases);
    await session.rewrite(isBase, async () => {
      const found = await loadWeights(session.store, session.units, checkpoint, entries, { signal, isBase });
      for (const [{ name }, hash] of found) {
        if (hashes(name) !== hash)
          throw new Zo2Error(
            "ZO2_ERR_CHECKPOINT",
            `${dir}: tensor ${JSON.stringify(name)} has other values than those that were written there`,
          );
      }
    });
  } finally {
    await checkpoint.close();
  }
}

/**
 * Puts the weights back with which the model was loaded.
 * @throws Zo2Error ZO2_ERR_CHECKPOINT where the files are others now
 */
export async function readBase(loaded: Loaded, signal: AbortSignal | undefined): Promise<void> {
  const hashes = new Map([...loaded.fingerprints].map(([{ name }, hash]) => [name, hash]));
  await readWeights(loaded, loaded.dir, (name) => hashes.get(name), true, signal);
}
