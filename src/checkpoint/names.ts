import { Zo2Error } from "../errors.js";
import type { Checkpoint } from "./checkpoint.js";
import type { TensorEntry } from "./safetensors.js";

/**
 * Names under which a tensor may be stored, the canonical one first. `prefixes` are the ways in which checkpoints of the
 * family begin, "" for none: OPT's `model.decoder.x` is also found as `decoder.x` with `["model.decoder.", "decoder."]`.
 */
export function storedNames(name: string, prefixes: readonly string[]): string[] {
  const own = prefixes.filter((prefix) => name.startsWith(prefix)).reduce((a, b) => (b.length > a.length ? b : a), "");
  const base = name.slice(own.length);
  return [...new Set([name, ...prefixes.map((prefix) => prefix + base)])];
}

/** The entry of the tensor with the canonical name `name`, under whichever of `prefixes` it is stored; undefined if under none. */
export function resolveTensor(checkpoint: Pick<Checkpoint, "tensors">, name: string, prefixes: readonly string[]): TensorEntry | undefined {
  for (const stored of storedNames(name, prefixes)) {
    const entry = checkpoint.tensors.get(stored);
    if (entry !== undefined) return entry;
  }
  return undefined;
}

/** As `resolveTensor`; throws `ZO2_ERR_CHECKPOINT` with the names that were tried when there is none. */
export function requireTensor(checkpoint: Pick<Checkpoint, "tensors" | "dir">, name: string, prefixes: readonly string[]): TensorEntry {
  const entry = resolveTensor(checkpoint, name, prefixes);
  if (entry !== undefined) return entry;
  const tried = storedNames(name, prefixes).join(", ");
  throw new Zo2Error("ZO2_ERR_CHECKPOINT", `${checkpoint.dir}: tensor ${JSON.stringify(name)} is missing from its ${checkpoint.tensors.size} tensors (tried ${tried})`);
}
