import { loadAdapter, loadAll } from "../adapters/load.js";
import { type Adapter, checkShape, valuesIn } from "../adapters/make.js";
import { readAdapter } from "../adapters/peft/read.js";
import { baseOf } from "../adapters/request.js";
import { openCheckpoint } from "../checkpoint/index.js";
import { checkTensors, loadWeights } from "../checkpoint/weights.js";
import { Zo2Error } from "../base/errors.js";
import type { Session } from "../device/session.js";
import type { Loaded } from "../loaded.js";
import { isAdapterUnit } from "../memory/units.js";
import { isOfAdapter, type Parameter } from "../ops/parameter.js";

/** XXH128 of a tensor's stored bytes, as they have to be; undefined: there has to be no such tensor. */
type Hashes = (name: string) => string | undefined;

/**
 * Reads the weights that `save` has written into a folder into the place of those that are there, behind what is in
 * flight: under an adapter its own, for its base stays as it is.
 * @throws Zo2Error ZO2_ERR_CHECKPOINT for files that are not whole, or have other values; the weights are none then
 */
export async function readWeights(
  loaded: Loaded,
  dir: string,
  hashes: Hashes,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { adapter, definition, parameters, session } = loaded;
  if (adapter === null) return readModel(loaded, dir, hashes, signal);
  const contents = await readAdapter(dir, baseOf(definition, parameters));
  checkShape(dir, contents, adapter);
  await putAdapter(session, { name: dir, values: valuesIn(contents) }, { hashes, isBase: false, signal });
}

async function readModel(
  { session, parameters, definition }: Loaded,
  dir: string,
  hashes: Hashes,
  signal: AbortSignal | undefined,
): Promise<void> {
  await using checkpoint = await openCheckpoint(dir);
  const entries = checkTensors(checkpoint, parameters, definition.namePrefixes, definition.aliases);
  await session.rewrite(false, async () =>
    check(dir, await loadWeights(session.store, session.units, checkpoint, entries, { signal }), hashes),
  );
}

/**
 * Puts other values in the place of an adapter's, behind what is in flight.
 * @param o.hashes absent: any values will do.
 * @param o.isBase whether they are those that the model was loaded with.
 */
export async function putAdapter(
  session: Session,
  values: Pick<Adapter, "name" | "values">,
  o: { readonly hashes?: Hashes; readonly isBase: boolean; readonly signal: AbortSignal | undefined },
): Promise<void> {
  const units = session.units.filter(isAdapterUnit).map(({ index }) => index);
  const fill = async () => {
    const found = await loadAdapter(session, values, o.signal);
    if (o.hashes !== undefined) check(values.name, found, o.hashes);
  };
  await session.rewrite(o.isBase, fill, units);
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
  if (adapter !== null && session.holdsBase) return putAdapter(session, adapter, { hashes, isBase: true, signal });
  await using checkpoint = await openCheckpoint(dir);
  const base = parameters.filter((parameter) => !isOfAdapter(parameter));
  const entries = checkTensors(checkpoint, base, definition.namePrefixes, definition.aliases);
  await session.rewrite(true, async () =>
    check(dir, await loadAll(session, checkpoint, entries, adapter, signal), hashes),
  );
}

function check(from: string, found: ReadonlyMap<Parameter, string>, hashes: Hashes): void {
  for (const [{ name }, hash] of found) {
    if (hashes(name) !== hash)
      throw new Zo2Error(
        "ZO2_ERR_CHECKPOINT",
        `${from}: tensor ${JSON.stringify(name)} has other values than those that were written there`,
      );
  }
}
