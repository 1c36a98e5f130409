/** Puts values in the place of an adapter's parameters. */
import { loadWeights } from "../checkpoint/weights.js";
import type { Session } from "../device/session.js";
import { isAdapterUnit } from "../memory/units.js";
import { isOfAdapter, type Parameter } from "../ops/parameter.js";
import type { Adapter } from "./make.js";
import { adapterSource } from "./values.js";

/**
 * @param adapter null: there is none, and nothing is done.
 * @returns the fingerprints of the values as they are stored
 */
export async function loadAdapter(
  { store, units, recording }: Pick<Session, "store" | "units" | "recording">,
  adapter: Pick<Adapter, "name" | "values"> | null,
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<Parameter, string>> {
  if (adapter === null) return new Map();
  const source = adapterSource(adapter.name, recording.parameters.filter(isOfAdapter), adapter.values);
  return loadWeights(store, units.filter(isAdapterUnit), source, source.entries, { signal });
}
