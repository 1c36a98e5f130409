/** What the parameters of an adapter are before the first step. */
import { Pace } from "../base/pace.js";
import { philox } from "../base/philox.js";
import { Zo2Error } from "../base/errors.js";
import { DTYPE_BITS, type TensorDtype, type TensorEntry } from "../checkpoint/safetensors.js";
import type { Parameter } from "../ops/parameter.js";
import type { StoredValues } from "./contents.js";

/** The first values of one parameter, row-major. */
export interface FirstValues {
  readonly dtype: TensorDtype;
  /** Fills `into` from byte `offset` on. */
  read(offset: number, into: Uint8Array): Promise<void>;
}

/** Those of every parameter of an adapter. */
export type ValuesOf = (parameter: Parameter) => FirstValues;

/** What weights are loaded from: as much of a checkpoint as that takes. */
export interface AdapterSource {
  /** For messages. */
  readonly dir: string;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly entries: ReadonlyMap<Parameter, TensorEntry>;
  read(entry: TensorEntry, offset: number, into: Uint8Array): Promise<void>;
}

/** The values of an adapter in the shape of a checkpoint. @param name of the adapter, for messages. */
export function adapterSource(name: string, parameters: readonly Parameter[], valuesOf: ValuesOf): AdapterSource {
  const values = new Map<TensorEntry, FirstValues>();
  const entries = new Map<Parameter, TensorEntry>();
  for (const parameter of parameters) {
    const { shape, count } = parameter;
    const of = valuesOf(parameter);
    const bytes = (count * DTYPE_BITS[of.dtype]) / 8;
    const entry = { name: parameter.name, dtype: of.dtype, shape, file: name, offset: 0, bytes };
    values.set(entry, of);
    entries.set(parameter, entry);
  }
  return {
    dir: name,
    tensors: new Map([...entries.values()].map((entry) => [entry.name, entry])),
    entries,
    read: async (entry, offset, into) => {
      const of = values.get(entry);
      if (of === undefined) throw new Zo2Error("ZO2_ERR_INVALID_ARGUMENT", `${name}: has no tensor ${entry.name}`);
      await of.read(offset, into);
    },
  };
}

/** Purpose 3 of the counters: 0 to 2 are a step's (`numerics/`). */
const FIRST_VALUES = 3 << 24;

/**
 * Uniform in [-bound, bound]: a function of the seed and of the place in the canonical order, counted from the
 * adapter's first element.
 */
export function uniformValues(seed: number, first: number, bound: number): FirstValues {
  const key = [seed % 2 ** 32, Math.floor(seed / 2 ** 32)] as const;
  return {
    dtype: "F32",
    read: async (offset, into) => {
      const pace = new Pace();
      const view = new DataView(into.buffer, into.byteOffset, into.byteLength);
      let block = -1;
      let words: readonly number[] = [];
      for (let byte = 0; byte < into.byteLength; byte += 4) {
        const place = first + (offset + byte) / 4;
        const q = Math.floor(place / 4);
        if (q !== block) {
          words = philox([q % 2 ** 32, Math.floor(q / 2 ** 32), 0, FIRST_VALUES], key);
          block = q;
          if (q % PER_LOOK === 0 && pace.due) await pace.turn();
        }
        const unit = (((words[place % 4] ?? 0) >>> 8) + 0.5) / 2 ** 24;
        view.setFloat32(byte, bound * (2 * unit - 1), true);
      }
    },
  };
}

/** Blocks that are drawn between two looks at the clock. */
const PER_LOOK = 1024;

/** Those that are in memory. */
export function storedValues({ dtype, bytes }: StoredValues): FirstValues {
  return {
    dtype,
    read: (offset, into) => {
      into.set(bytes.subarray(offset, offset + into.byteLength));
      return Promise.resolve();
    },
  };
}

export const ZEROS: FirstValues = {
  dtype: "F32",
  read: (_, into) => {
    into.fill(0);
    return Promise.resolve();
  },
};
