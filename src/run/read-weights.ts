import { loadAdapter, loadAll } from "../adapters/load.js";
import { openCheckpoint } from "../checkpoint/index.js";
import { checkTensors, loadWeights } from "../checkpoint/weights.js";
import { Zo2Error } from "../base/errors.js";
import type { Loaded } from "../loaded.js";
import { isAdapterUnit } from "../memory/units.js";
import { isOfAdapter, type Parameter } from "../ops/parameter.js";

/**
 * Reads the weights of a snapshot into the place of those that are there, behind what is in flight: under an adapter
 * its own, for its base stays as it is.
 * @param hashes of every tensor's stored bytes, as they have to be.
 * @throws Zo2Error ZO2_ERR_CHECKPOINT for files that are not whole, or have other values; the weights are none then
 */
export async function readWeights(
  loaded: Loaded,
  dir: string,
  hashes: (name: string) => string | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { session, parameters, definition, adapter } = loaded;
  const wanted = adapter === null ? parameters : parameters.filter(isOfAdapter);
  const units = adapter === null ? session.units : session.units.filter(isAdapterUnit);
  await using checkpoint = await openCheckpoint(dir);
  const entries = checkTensors(checkpoint, wanted, definition.namePrefixes, definition.aliases);
  await session.rewrite(
    false,
    async () => check(dir, await loadWeights(session.store, units, checkpoint, entries, { signal }), hashes),
    units.map(({ index }) => index),
  );
}

/**
 * Puts the weights back with which the model was loaded. Under an adapter its base is there, unless something was
 * merged into it.
 * @throws Zo2Error ZO2_ERR_CHECKPOINT where the files are others now
 */
export async function readBase(loaded: Loaded, signal: AbortSignal | undefined): Promise<void> {
  const { session, parameters, definition, adapter, dir, fingerprints } = loaded;
  const known = new Map([...fingerprints].map(([{ name }, hash]) => [name, hash]));
  const hashes = (name: string) => known.get(name);
  if (adapter !== null && session.holdsBase) {
    const own = session.units.filter(isAdapterUnit).map(({ index }) => index);
    const fill = async () => check(adapter.name, await loadAdapter(session, adapter, signal), hashes);
    return session.rewrite(true, fill, own);
  }
  await using checkpoint = await openCheckpoint(dir);
  const base = parameters.filter((parameter) => !isOfAdapter(parameter));
  const entries = checkTensors(checkpoint, base, definition.namePrefixes, definition.aliases);
  await session.rewrite(true, async () =>
    check(dir, await loadAll(session, checkpoint, entries, adapter, signal), hashes),
  );
}

function check(
  from: string,
  found: ReadonlyMap<Parameter, string>,
  hashes: (name: string) => string | undefined,
): void {
  for (const [{ name }, hash] of found) {
    if (hashes(name) !== hash)
      throw new Zo2Error(
        "ZO2_ERR_CHECKPOINT",
        `${from}: tensor ${JSON.stringify(name)} has other values than those that were written there`,
      );
  }
}
