/** Adapters, as options ask for them. */
import type { ResolvedAdapterOptions } from "../config/adapter.js";
import type { ModelDefinition } from "../models/family.js";
import { canonicalLength, type Parameter } from "../ops/parameter.js";
import type { Recording } from "../ops/record.js";
import type { AdapterDefinition } from "./adapter.js";
import type { AdapterShape } from "./contents.js";
import { aOf, defineLora, linearLayers } from "./lora.js";
import { definePrefix } from "./prefix.js";
import { prefixTokens } from "./prefix-values.js";
import { matchLayers } from "./targets.js";
import { uniformValues, type ValuesOf, ZEROS } from "./values.js";

/** Options of an adapter, as a schema has resolved them. */
export type AdapterRequest = Readonly<ResolvedAdapterOptions>;

type RequestOf<Name extends AdapterRequest["name"]> = Extract<AdapterRequest, { readonly name: Name }>;

/** An adapter over a base. */
export interface Adapter {
  /** For messages. */
  readonly name: string;
  readonly shape: AdapterShape;
  readonly definition: AdapterDefinition;
  /** Before the first step. */
  readonly values: ValuesOf;
  /** Tokens whose keys and values, as the base makes them, come in the place of `values`: see `begun`. */
  readonly begins?: Int32Array;
}

/**
 * @param base the model as it is recorded without the adapter.
 * @throws Zo2Error ZO2_ERR_CONFIG for targets that match nothing, naming some that would
 */
export function makeAdapter(options: AdapterRequest, base: Recording, definition: ModelDefinition): Adapter {
  return options.name === "lora" ? makeLora(options, base) : makePrefix(options, base, definition);
}

function makeLora({ rank, alpha, seed, targets }: RequestOf<"lora">, base: Recording): Adapter {
  const layers = matchLayers(linearLayers(base), targets);
  const modules = layers.map(({ module }) => ({ module, rank, scale: alpha / rank }));
  const widths = new Map(layers.map(({ module, inputs }) => [aOf(module), inputs]));
  const first = canonicalLength(base.parameters);
  return {
    name: "the new adapter",
    shape: { kind: "lora", modules, alsoTrained: [] },
    definition: defineLora(base, modules),
    values: (parameter: Parameter) => {
      const inputs = widths.get(parameter.name);
      return inputs === undefined ? ZEROS : uniformValues(seed, parameter.canonical - first, 1 / Math.sqrt(inputs));
    },
  };
}

function makePrefix({ tokens, seed }: RequestOf<"prefix">, base: Recording, { vocabSize }: ModelDefinition): Adapter {
  return {
    name: "the new adapter",
    shape: { kind: "prefix", tokens, alsoTrained: [] },
    definition: definePrefix(base, tokens),
    values: () => ZEROS,
    begins: prefixTokens(seed, tokens, vocabSize),
  };
}
