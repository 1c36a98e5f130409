/** Puts the weights in place that a model begins with: those of its files, and its adapter's. */
import type { Checkpoint, TensorEntry } from "../checkpoint/index.js";
import { loadWeights } from "../checkpoint/weights.js";
import type { Session } from "../device/session.js";
import { baseUnits, isAdapterUnit } from "../memory/units.js";
import { isOfAdapter, type Parameter } from "../ops/parameter.js";
import type { Adapter } from "./make.js";
import { keysAndValues } from "./prefix-values.js";
import { adapterSource, storedValues, type ValuesOf, ZEROS } from "./values.js";

/**
 * An adapter with its first values, where the base has to make them.
 * @param session of the base, whose weights are there, with the adapter over it
 * @throws Zo2Error ZO2_ERR_MEMORY_BUDGET, ZO2_ERR_OUT_OF_MEMORY
 */
export async function begun(adapter: Adapter, session: Session): Promise<Adapter> {
  const { begins } = adapter;
  if (begins === undefined) return adapter;
  const made = await keysAndValues(session, begins);
  const values: ValuesOf = ({ name }) => {
    const stored = made.get(name);
    return stored === undefined ? ZEROS : storedValues(stored);
  };
  return { ...adapter, values };
}

/** @returns the fingerprints of all of them as they are stored */
export async function loadAll(
  session: Pick<Session, "store" | "units" | "recording">,
  checkpoint: Checkpoint,
  entries: ReadonlyMap<Parameter, TensorEntry>,
  adapter: Adapter | null,
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<Parameter, string>> {
  const { store, units } = session;
  return new Map([
    ...(await loadWeights(store, baseUnits(units), checkpoint, entries, { signal, isBase: true })),
    ...(await loadAdapter(session, adapter, signal)),
  ]);
}

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
