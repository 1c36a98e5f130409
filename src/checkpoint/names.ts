import { Zo2Error } from "../base/errors.js";
import { broken } from "./source.js";
import type { Checkpoint } from "./checkpoint.js";
import { placeOf, sameBytes } from "./same-bytes.js";
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
  checkpoint: Pick<Checkpoint, "tensors" | "dir"> & Partial<Pick<Checkpoint, "index">>,
  name: string,
  prefixes: readonly string[],
  aliases?: Aliases,
): TensorEntry {
  const entry = resolveTensor(checkpoint, name, prefixes, aliases);
  if (entry !== undefined) return entry;
  const tried = allNames(name, prefixes, aliases);
  const { dir, tensors, index } = checkpoint;
  for (const stored of tried) {
    const why = index?.absent.get(stored);
    if (why !== undefined) throw broken(index?.path ?? dir, `tensor ${JSON.stringify(stored)} ${why}`);
  }
  throw new Zo2Error(
    "ZO2_ERR_CHECKPOINT",
    `${dir}: tensor ${JSON.stringify(name)} is missing from its ${tensors.size} tensors (tried ${tried.join(", ")})`,
  );
}

/** A tensor that is in the checkpoint a second time, under another of its names. */
export interface Double {
  /** Of the tensor that is used. */
  readonly name: string;
  readonly used: TensorEntry;
  readonly other: TensorEntry;
  /** Whether `other` stands under the name of what `name` is tied to. */
  readonly alias: boolean;
  readonly same: boolean;
}

/** What else the checkpoint has under the names of tensors that are used (by canonical name). Bytes are compared. */
export async function findDoubles(
  checkpoint: Pick<Checkpoint, "tensors" | "read">,
  used: ReadonlyMap<string, TensorEntry>,
  prefixes: readonly string[],
  aliases: Aliases,
): Promise<Double[]> {
  const doubles: Double[] = [];
  for (const [name, entry] of used) {
    const own = storedNames(name, prefixes);
    for (const stored of allNames(name, prefixes, aliases)) {
      const other = checkpoint.tensors.get(stored);
      if (other === undefined || other === entry) continue;
      const same = await sameBytes(checkpoint, entry, other);
      doubles.push({ name, used: entry, other, alias: !own.includes(stored), same });
    }
  }
  return doubles;
}

export interface UnusedOptions {
  readonly prefixes: readonly string[];
  readonly aliases?: Aliases;
  /** Tensors under other names of what is used that turned out to be no copies of it. */
  readonly different?: ReadonlySet<TensorEntry>;
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
        o.different?.has(entry) === true ||
        (!names.has(entry.name) &&
          !bytes.has(placeOf(entry)) &&
          o.ignored?.some((pattern) => pattern.test(entry.name)) !== true),
    )
    .map((entry) => entry.name);
}
