/** The folder of an adapter, as PEFT writes and reads it. */
import type { StoredValues } from "../contents.js";
import { tensorBytes, type TensorSource, writeAdapterFolder } from "../../checkpoint/index.js";
import { type AdapterDescription, type Described, peftConfig } from "./describe.js";
import { OUTER, PREFIX_TENSOR, prefixNames } from "./names.js";

export interface WriteAdapterOptions {
  /** Small files that stand beside it, by name; called when every tensor has been read. */
  readonly also?: (() => Readonly<Record<string, string>>) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Writes an adapter atomically, over an older one where there is one.
 * @param tensors by our names, as `AdapterContents.values` has them; each is read once, from its first byte on.
 * @throws Zo2Error ZO2_ERR_IO, ZO2_ERR_ABORTED
 */
export async function writeAdapter(
  dir: string,
  contents: AdapterDescription,
  tensors: readonly TensorSource[],
  base: Described,
  o: WriteAdapterOptions = {},
): Promise<void> {
  const stored = contents.kind === "prefix" ? [joined(tensors)] : tensors.map((t) => ({ ...t, name: OUTER + t.name }));
  const ordered = [...stored].sort((a, b) => (a.name < b.name ? -1 : 1));
  await writeAdapterFolder(dir, {
    tensors: ordered,
    config: peftConfig(contents, base),
    also: o.also,
    signal: o.signal,
  });
}

/** Values that are in memory, as a writer takes them. */
export function sourcesOf(values: ReadonlyMap<string, StoredValues>): readonly TensorSource[] {
  return [...values].map(([name, { dtype, shape, bytes }]) => ({
    ...{ name, dtype, shape, bytes: bytes.byteLength },
    read: async (offset, into) => into.set(bytes.subarray(offset, offset + into.byteLength)),
  }));
}

/** A prefix as one tensor [tokens, layers x 2 x columns], which is small: its parts are read when it is. */
function joined(parts: readonly TensorSource[]): TensorSource {
  const byName = new Map(parts.map((part) => [part.name, part]));
  const ordered = prefixNames(parts.length / 2).map((name) => {
    const part = byName.get(name);
    if (part === undefined) throw new Error(`the prefix has no ${name}`);
    return part;
  });
  const [first] = ordered;
  const [rows = 0, columns = 0] = first?.shape ?? [];
  const dtype = first?.dtype ?? "F32";
  const shape = [rows, columns * ordered.length];
  let whole: Promise<Uint8Array> | undefined;
  return {
    ...{ name: PREFIX_TENSOR, dtype, shape, bytes: tensorBytes(dtype, shape) ?? 0 },
    read: async (offset, into) => {
      whole ??= interleaved(ordered, rows);
      into.set((await whole).subarray(offset, offset + into.byteLength));
    },
  };
}

async function interleaved(parts: readonly TensorSource[], rows: number): Promise<Uint8Array> {
  const whole = new Uint8Array(parts.reduce((sum, { bytes }) => sum + bytes, 0));
  for (const [i, { bytes, read }] of parts.entries()) {
    const own = new Uint8Array(bytes);
    await read(0, own);
    const width = bytes / rows;
    for (let row = 0; row < rows; row++)
      whole.set(own.subarray(row * width, (row + 1) * width), (row * parts.length + i) * width);
  }
  return whole;
}
