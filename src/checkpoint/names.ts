import { Zo2Error } from "../base/errors.js";
import type { Checkpoint } from "./checkpoint.js";
import type { TensorEntry } from "./safetensors.js";

/** What a model that wraps another puts in front of its names. */
const OUTER = "model.";

/** A tensor's name in `named_parameters()`, and the others under which a tied tensor may be stored. */
export type Aliases = ReadonlyMap<string, readonly string[]>;

/**
 * Names under which a tensor may be stored, the canonical one first. `prefixes` are the ways in which checkpoints of
 * the family begin, "" for none: OPT's `model.decoder.x` is also found as `decoder.x` with `["model.decoder.",
 * "decoder."]`. Last come the same names with one more `model.` in front.
 */
export function storedNames(name: string, prefixes: readonly string[]): string[] {
  const own = prefixes.filter((prefix) => name.startsWith(prefix)).reduce((a, b) => (b.length > a.length ? b : a), "");
  const base = name.slice(own.length);
  const names = [name, ...prefixes.map((prefix) => prefix + base)];
  return [...new Set([...names, ...names.map((n) => OUTER + n)])];
}

function allNames(name: string, prefixes: readonly string[], aliases?: Aliases): string[] {
  return [name, ...(aliases?.get(name) ?? [])].flatMap((n) => storedNames(n, prefixes));
}

/**
 * The entry of the tensor with the canonical name `name`, under whichever of `prefixes` and of its aliases it is
 * stored; undefined if under none.
 */
export function resolveTensor(
  checkpoint: Pick<Checkpoint, "tensors">,
  name: string,
  prefixes: readonly string[],
  aliases?: Aliases,
): TensorEntry | undefined {
  for (const stored of allNames(name, prefixes, aliases)) {
    const entry = checkpoint.tensors.get(stored);
    if (entry !== undefined) return entry;
  }
  return undefined;
}

/** As `resolveTensor`; throws `ZO2_ERR_CHECKPOINT` with the names that were tried when there is none. */
export function requireTensor(
  checkpoint: Pick<Checkpoint, "tensors" | "dir">,
  name: string,
  prefixes: readonly string[],
  aliases?: Aliases,
): TensorEntry {
  const entry = resolveTensor(checkpoint, name, prefixes, aliases);
  if (entry !== undefined) return entry;
  const tried = allNames(name, prefixes, aliases).join(", ");
  const { dir, tensors } = checkpoint;
  throw new Zo2Error(
    "ZO2_ERR_CHECKPOINT",
    `${dir}: tensor ${JSON.stringify(name)} is missing from its ${tensors.size} tensors (tried ${tried})`,
  );
}

export interface UnusedOptions {
  readonly prefixes: readonly string[];
  readonly aliases?: Aliases;
  /** Names of what the family does not need: mask buffers, rotary tables. */
  readonly ignored?: readonly RegExp[];
}

/**
 * Names of tensors that no parameter was read from, in the checkpoint's order: not in `used` (by canonical name), no
 * other name of a tensor that is, nor the same bytes of a file, nor `ignored`.
 */
export function unusedTensors(
  checkpoint: Pick<Checkpoint, "tensors">,
  used: ReadonlyMap<string, TensorEntry>,
  o: UnusedOptions,
): string[] {
  const names = new Set([...used].flatMap(([name, entry]) => [entry.name, ...allNames(name, o.prefixes, o.aliases)]));
  const bytes = new Set([...used.values()].map(placeOf));
  return [...checkpoint.tensors.values()]
    .filter(
      (entry) =>
        !names.has(entry.name) &&
        !bytes.has(placeOf(entry)) &&
        o.ignored?.some((pattern) => pattern.test(entry.name)) !== true,
    )
    .map((entry) => entry.name);
}

/** Equal for tied tensors of one file, and for nothing else but empty ones. */
function placeOf({ file, offset, dtype, shape, strides }: TensorEntry): string {
  return JSON.stringify([file, offset, dtype, shape, strides]);
}
