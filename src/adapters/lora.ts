/** LoRA (Hu et al. 2021, arXiv 2106.09685): y = x W^T + scale (x A^T) B^T, of which A and B alone are trained. */
import { Zo2Error } from "../base/errors.js";
import { type Parameter, type ParameterSpec, rowsOf } from "../ops/parameter.js";
import { adapterLate } from "../ops/order.js";
import { isParameter, parametersOf, type Recorder, type Recording } from "../ops/record.js";
import type { Op } from "../ops/row.js";
import type { Value } from "../ops/value.js";
import type { AdapterDefinition } from "./adapter.js";
import type { LoraModule } from "./contents.js";

/** A weight of the base that a linear op multiplies with. */
export interface LinearLayer {
  /** The parameter's name without ".weight". */
  readonly module: string;
  readonly weight: Parameter;
  readonly inputs: number;
  readonly outputs: number;
  /** Whether the weight is stored as [inputs, outputs]. */
  readonly transposed: boolean;
}

const WEIGHT = ".weight";

export const aOf = (module: string) => `${module}.lora_A${WEIGHT}`;
export const bOf = (module: string) => `${module}.lora_B${WEIGHT}`;

/** In the order of the parameters. The head is none: what it makes of the vocabulary never exists as a whole. */
export function linearLayers({ blocks, parameters }: Recording): readonly LinearLayer[] {
  const layers = new Map<Parameter, LinearLayer>();
  const transposed = new Map<Value, Parameter>();
  for (const op of blocks.flatMap(({ ops }) => ops)) {
    if (op.name === "transpose") {
      const [made, of] = [valueAt(op, "out"), parameterAt(op, "x")];
      if (made !== null && of !== null) transposed.set(made, of);
    }
    if (op.name !== "linear") continue;
    const weight = parameterAt(op, "weight");
    const value = valueAt(op, "weight");
    const parameter = weight ?? (value === null ? undefined : transposed.get(value));
    if (parameter === undefined || !parameter.name.endsWith(WEIGHT)) continue;
    const { rows, width } = rowsOf(parameter);
    const isTransposed = weight === null;
    const [outputs, inputs] = isTransposed ? [width, rows] : [rows, width];
    const module = parameter.name.slice(0, -WEIGHT.length);
    layers.set(parameter, { module, weight: parameter, inputs, outputs, transposed: isTransposed });
  }
  return parameters.flatMap((parameter) => layers.get(parameter) ?? []);
}

/**
 * @param base the base as it is recorded without an adapter.
 * @param alsoTrained parameters of the base that are trained besides.
 * @throws Zo2Error ZO2_ERR_MODEL_UNSUPPORTED for a module that is no linear layer of the base, and for a part of what
 *   one op uses, by name
 */
export function defineLora(
  base: Recording,
  modules: readonly LoraModule[],
  alsoTrained: readonly string[] = [],
): AdapterDefinition {
  checkAlsoTrained(base, alsoTrained);
  const layers = new Map(linearLayers(base).map((layer) => [layer.module, layer]));
  const parameters = modules.flatMap(({ module, rank }): ParameterSpec[] => {
    const layer = layers.get(module);
    if (layer === undefined)
      throw new Zo2Error(
        "ZO2_ERR_MODEL_UNSUPPORTED",
        `the adapter changes ${JSON.stringify(module)}, which is no linear layer of the model; LoRA is supported on ` +
          `linear layers but the head: ${someLayers([...layers.values()])}`,
      );
    return [
      { name: aOf(module), shape: [rank, layer.inputs], decay: true, adapter: true },
      { name: bOf(module), shape: [layer.outputs, rank], decay: true, adapter: true },
    ];
  });
  const byWeight = new Map(modules.map((module) => [module.module + WEIGHT, module]));
  return { kind: "lora", parameters, alsoTrained, prefixRows: 0, over: (recorder) => recordOver(recorder, byWeight) };
}

/** What one op uses is in one unit, and so is all of the adapter's or all of the base's. */
function checkAlsoTrained({ blocks, parameters }: Recording, alsoTrained: readonly string[]): void {
  const names = new Set(alsoTrained);
  const unknown = alsoTrained.find((name) => !parameters.some((parameter) => parameter.name === name));
  const torn = blocks
    .flatMap(({ ops }) => ops.map((op) => parametersOf(op).map(({ name }) => name)))
    .find((used) => used.some((name) => names.has(name)) && used.some((name) => !names.has(name)));
  if (unknown === undefined && torn === undefined) return;
  const why =
    torn === undefined
      ? `${JSON.stringify(unknown)}, which the model does not have`
      : `some of ${torn.join(", ")}, which are trained together or not at all`;
  throw new Zo2Error("ZO2_ERR_MODEL_UNSUPPORTED", `the adapter trains ${why}; it is another model's`);
}

/** Behind each product with a weight that is changed: t = x A^T, and scale t B^T inside the sum that it belongs to. */
function recordOver(recorder: Recorder, byWeight: ReadonlyMap<string, LoraModule>): Recorder {
  const { linear: plain, transpose } = recorder;
  const finish = recorder.finish.bind(recorder);
  const transposed = new Map<Value, Parameter>();
  const linear: Recorder["linear"] = (given) => {
    const weight = isParameter(given.weight) ? given.weight : transposed.get(given.weight);
    const change = weight === undefined ? undefined : byWeight.get(weight.name);
    if (change === undefined) return plain(given);
    const { activation = "none", residual = null, ...product } = given;
    const isInner = residual === null;
    if (!isInner && activation !== "none") throw new Error(`${change.module}: a sum around an activation has no place`);
    const sum = plain({ ...product, residual });
    const t = plain({ x: given.x, weight: recorder.parameter(aOf(change.module)) });
    const b = recorder.parameter(bOf(change.module));
    return plain({ x: t, weight: b, residual: sum, activation, scale: change.scale, inner: isInner });
  };
  return Object.assign(recorder, {
    linear,
    finish: () => adapterLate(finish()),
    transpose: (given: Parameters<Recorder["transpose"]>[0]) => {
      const value = transpose(given);
      if (isParameter(given.x)) transposed.set(value, given.x);
      return value;
    },
  });
}

/** Some of them, for messages. */
export function someLayers(layers: readonly LinearLayer[]): string {
  const ends = [...new Set(layers.map(({ module }) => module.slice(module.lastIndexOf(".") + 1)))];
  return `${ends.join(", ")} (${layers[0]?.module ?? "none"}, ...)`;
}

function parameterAt(op: Op, name: string): Parameter | null {
  const operand = op.operands[name] ?? null;
  return operand !== null && isParameter(operand) ? operand : null;
}

function valueAt(op: Op, name: string): Value | null {
  const operand = op.operands[name] ?? null;
  return operand !== null && !isParameter(operand) ? operand : null;
}
