/** An adapter that becomes a part of the weights which it changes. */
import type { AdapterContents, LoraModule } from "./adapters/contents.js";
import { Zo2Error } from "./base/errors.js";
import { changeSlice, weightSources } from "./checkpoint/weights.js";
import type { Loaded } from "./loaded.js";
import { type Parameter, rowsOf } from "./ops/parameter.js";
import { aOf, bOf, linearLayers } from "./adapters/lora.js";
import type { AdapterBase } from "./adapters/peft/base.js";
import { addChange, changeOf } from "./adapters/peft/fold.js";
import { readAdapter } from "./adapters/peft/read.js";
import { baseOf } from "./adapters/request.js";
import { valuesOf } from "./adapters/peft/values.js";

export interface MergeOptions {
  /** Stops it; the model is disposed then. */
  readonly signal?: AbortSignal | undefined;
}

/** What becomes of whole rows of a parameter, from row `first` on. */
type RowChange = (rows: Float32Array, first: number) => void;

/** By parameter; each is made when its rows are at hand. */
type Changes = ReadonlyMap<Parameter, () => Promise<RowChange>>;

/**
 * Adds what the adapter in a folder of PEFT changes to the weights, in place: each element is summed in fp64 and
 * rounded once to its wire dtype.
 * @throws Zo2Error as `readAdapter`; ZO2_ERR_MODEL_UNSUPPORTED for a prefix; ZO2_ERR_NOT_FINITE or ZO2_ERR_ABORTED with
 *   a part of the weights changed: the model is disposed then
 */
export async function mergeFolder(loaded: Loaded, dir: string, o: MergeOptions = {}): Promise<void> {
  if (loaded.adapter !== null)
    throw new Zo2Error(
      "ZO2_ERR_INVALID_ARGUMENT",
      `${loaded.name} was loaded with an adapter over it; merge that one (without a folder), or load it without`,
    );
  const base = baseOf(loaded.definition, loaded.parameters);
  await mergeContents(loaded, base, await readAdapter(dir, base), dir, o);
}

async function mergeContents(
  loaded: Loaded,
  base: AdapterBase,
  contents: AdapterContents,
  dir: string,
  o: MergeOptions,
): Promise<void> {
  if (contents.kind !== "lora") throw noWeights(dir);
  const values = (name: string) => {
    const stored = contents.values.get(name);
    if (stored === undefined) throw new Error(`the adapter has no ${name}`);
    return valuesOf(stored);
  };
  const changes = new Map(weightChanges(base, contents.modules, loaded, async (name) => values(name)));
  for (const parameter of base.parameters)
    if (contents.alsoTrained.includes(parameter.name))
      changes.set(parameter, async () => replaced(values(parameter.name), rowsOf(parameter).width));
  await applyChanges(loaded, [changes], o);
}

/**
 * The same for the adapter that the model was loaded with, whose B is 0 afterwards: its logits stay, up to rounding,
 * and it is a whole model from then on, which is not trained any more.
 * @throws Zo2Error ZO2_ERR_INVALID_ARGUMENT where there is none; else as `mergeFolder`
 */
export async function mergeOwn(loaded: Loaded, o: MergeOptions = {}): Promise<void> {
  const { adapter, session, definition, parameters } = loaded;
  if (adapter === null)
    throw new Zo2Error(
      "ZO2_ERR_INVALID_ARGUMENT",
      `${loaded.name} was loaded without an adapter; give the folder of one`,
    );
  const { shape } = adapter;
  if (shape.kind !== "lora") throw noWeights(adapter.name);
  const byName = new Map(parameters.map((parameter) => [parameter.name, parameter]));
  const values = async (name: string) => {
    const parameter = byName.get(name);
    const [source] = parameter === undefined ? [] : weightSources(session.store, session.units, [parameter], "fp32");
    if (parameter === undefined || source === undefined) throw new Error(`the model has no ${name}`);
    const read = new Float32Array(parameter.count);
    await source.read(0, new Uint8Array(read.buffer));
    return read;
  };
  const ends = new Set(shape.modules.map(({ module }) => bOf(module)));
  const zeros = parameters.filter(({ name }) => ends.has(name));
  const zero = async (): Promise<RowChange> => (rows) => rows.fill(0);
  await applyChanges(
    loaded,
    [
      weightChanges(baseOf(definition, parameters), shape.modules, loaded, values),
      new Map(zeros.map((parameter) => [parameter, zero])),
    ],
    o,
  );
  session.retire("the adapter was merged into the base; save the model and load it to go on");
}

/** What the layers of a LoRA add to their weights. */
function weightChanges(
  base: AdapterBase,
  modules: readonly LoraModule[],
  { session }: Loaded,
  values: (name: string) => Promise<Float32Array>,
): Changes {
  const wires = new Map(
    session.units.flatMap(({ tensors }) => tensors.map(({ parameter, wire }) => [parameter, wire])),
  );
  const byModule = new Map(modules.map((module) => [module.module, module]));
  return new Map(
    linearLayers(base.recording).flatMap((layer) => {
      const shape = byModule.get(layer.module);
      if (shape === undefined) return [];
      const { module, weight } = layer;
      const make = async (): Promise<RowChange> => {
        const factors = { a: await values(aOf(module)), b: await values(bOf(module)) };
        const change = changeOf(layer, shape, factors);
        const isExact = wires.get(weight) === "fp32";
        return (rows, first) => addChange(rows, first, rowsOf(weight).width, change, isExact);
      };
      return [[weight, make] as const];
    }),
  );
}

function noWeights(name: string): Zo2Error {
  return new Zo2Error(
    "ZO2_ERR_MODEL_UNSUPPORTED",
    `${name}: a prefix is rows of keys and values in front of every sequence, which no weights stand for; load it ` +
      "beside its base",
  );
}

function replaced(values: Float32Array, width: number): RowChange {
  return (rows, first) => rows.set(values.subarray(first * width, first * width + rows.length));
}

/** Changes weights where they rest, unit by unit, one set of changes when the one before is done. */
async function applyChanges(
  { session, dir }: Loaded,
  sets: readonly Changes[],
  { signal }: MergeOptions,
): Promise<void> {
  const { units, store } = session;
  const touched = units.filter(({ tensors }) =>
    tensors.some(({ parameter }) => sets.some((set) => set.has(parameter))),
  );
  const release = session.reserve("model.merge");
  try {
    await session.flush();
    const change = async (changes: Changes) => {
      for (const { index, tensors } of touched) {
        const own = tensors.filter(({ parameter }) => changes.has(parameter));
        if (own.length === 0) continue;
        if (signal?.aborted === true)
          throw new Zo2Error("ZO2_ERR_ABORTED", `${dir}: merging was stopped`, { cause: signal.reason });
        await store.change(index, async (memory) => {
          for (const slice of own) {
            const make = changes.get(slice.parameter);
            if (make !== undefined) await changeSlice(store, slice, memory, await make());
          }
        });
      }
    };
    await session
      .rewrite(
        false,
        async () => {
          for (const set of sets) await change(set);
        },
        touched.map(({ index }) => index),
      )
      .catch(async (error: unknown) => {
        // Some weights have the adapter in them and others have not.
        await session.dispose();
        throw error;
      });
  } finally {
    release();
  }
}
