/** What an adapter's folder has to fit: the linear layers of a base, and the keys and values of its attention. */
import { storedNames } from "../../checkpoint/index.js";
import type { Parameter } from "../../ops/parameter.js";
import { rowsOf } from "../../ops/parameter.js";
import { isParameter, type Recording } from "../../ops/record.js";
import type { Op } from "../../ops/row.js";
import type { Value } from "../../ops/value.js";

export interface AdapterBase {
  /** Of the base alone, in the canonical order. */
  readonly parameters: readonly Parameter[];
  readonly namePrefixes: readonly string[];
  readonly recording: Recording;
}

/** A linear layer whose weight an adapter can change. */
export interface LinearLayer {
  /** Its weight's name without ".weight". */
  readonly module: string;
  readonly weight: Parameter;
  readonly inputs: number;
  readonly outputs: number;
  /** Whether the weight is stored as [inputs, outputs]. */
  readonly transposed: boolean;
}

const WEIGHT = ".weight";

/** The linear layers of a base, in the canonical order; its head is none. */
export function linearLayers({ parameters, recording }: AdapterBase): readonly LinearLayer[] {
  const own = new Set(parameters);
  const found = new Map<Parameter, LinearLayer>();
  const transposes = new Map<Value, Parameter>();
  for (const { name, operands } of recording.blocks.flatMap(({ ops }): readonly Op[] => ops)) {
    const { x = null, out = null, weight = null } = operands;
    if (name === "transpose" && x !== null && out !== null && isParameter(x) && !isParameter(out))
      transposes.set(out, x);
    if (name !== "linear" || weight === null) continue;
    const parameter = isParameter(weight) ? weight : transposes.get(weight);
    if (parameter === undefined || !own.has(parameter) || !parameter.name.endsWith(WEIGHT)) continue;
    const { rows, width } = rowsOf(parameter);
    const transposed = !isParameter(weight);
    const [outputs, inputs] = transposed ? [width, rows] : [rows, width];
    const module = parameter.name.slice(0, -WEIGHT.length);
    found.set(parameter, { module, weight: parameter, inputs, outputs, transposed });
  }
  return parameters.flatMap((parameter) => found.get(parameter) ?? []);
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
  const found = recording.blocks.flatMap(({ ops }) =>
    ops.flatMap(({ name, operands, attributes }) => {
      const { k = null } = operands;
      if (name !== "attention" || k === null || isParameter(k)) return [];
      return [{ columns: k.columns, heads: Number(attributes["kvHeads"]) }];
    }),
  );
  const [first] = found;
  const alike = found.every(({ columns, heads }) => columns === first?.columns && heads === first.heads);
  return first === undefined || !alike ? null : { layers: found.length, ...first };
}

/** The names that a folder may have for a parameter: those under which checkpoints of the family store it. */
export function spellings({ namePrefixes }: AdapterBase, name: string): readonly string[] {
  return storedNames(name, namePrefixes);
}
