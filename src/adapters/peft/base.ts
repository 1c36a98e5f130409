/** What an adapter's folder has to fit. */
import { storedNames } from "../../checkpoint/index.js";
import type { Parameter } from "../../ops/parameter.js";
import type { Recording } from "../../ops/record.js";
import { prefixedLayers } from "../prefix.js";

export interface AdapterBase {
  /** Of the base alone, in the canonical order. */
  readonly parameters: readonly Parameter[];
  readonly namePrefixes: readonly string[];
  readonly recording: Recording;
}

/** The keys, and as many values, of every layer: alike in all. */
export interface Keys {
  readonly layers: number;
  readonly heads: number;
  /** heads x columns of a head */
  readonly columns: number;
}

/** Null where layers differ, or there are none. */
export function keyColumns({ recording }: AdapterBase): Keys | null {
  const found = prefixedLayers(recording);
  const [first] = found;
  const alike = found.every(({ columns, kvHeads }) => columns === first?.columns && kvHeads === first.kvHeads);
  return first === undefined || !alike ? null : { layers: found.length, heads: first.kvHeads, columns: first.columns };
}

/** The names that a folder may have for a parameter: those under which checkpoints of the family store it. */
export function spellings({ namePrefixes }: AdapterBase, name: string): readonly string[] {
  return storedNames(name, namePrefixes);
}
