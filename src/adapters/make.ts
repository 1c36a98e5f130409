/** Adapters, as options ask for them. */
import { isDeepStrictEqual } from "node:util";
import { Zo2Error } from "../base/errors.js";
import type { ResolvedAdapterOptions } from "../config/adapter.js";
import type { ModelDefinition } from "../models/family.js";
import { canonicalLength, type Parameter } from "../ops/parameter.js";
import type { Recording } from "../ops/record.js";
import type { AdapterDefinition } from "./adapter.js";
import type { AdapterContents, AdapterShape } from "./contents.js";
import { aOf, defineLora, linearLayers } from "./lora.js";
import { definePrefix } from "./prefix.js";
import { prefixTokens } from "./prefix-values.js";
import { matchLayers } from "./targets.js";
import { storedValues, uniformValues, type ValuesOf, ZEROS } from "./values.js";

/** An adapter whose shape and values come from a folder. */
export interface StoredAdapter {
  readonly name: "peft";
  readonly folder: string;
  readonly contents: AdapterContents;
}

/** Options of an adapter, as a schema has resolved them, with what a folder holds. */
export type AdapterRequest = Exclude<Readonly<ResolvedAdapterOptions>, { readonly name: "peft" }> | StoredAdapter;

type RequestOf<Name extends AdapterRequest["name"]> = Extract<AdapterRequest, { readonly name: Name }>;

/** An adapter over a base. */
export interface Adapter {
  /** For messages. */
  readonly name: string;
  readonly shape: AdapterShape;
  /** The `adapter_config.json` of the folder that it comes from; {}: it comes from none. */
  readonly config: Readonly<Record<string, unknown>>;
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
  if (options.name === "peft") return makeStored(options, base);
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
    config: {},
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
    config: {},
    values: () => ZEROS,
    begins: prefixTokens(seed, tokens, vocabSize),
  };
}

function makeStored({ folder, contents }: StoredAdapter, base: Recording): Adapter {
  const { config } = contents;
  const values = valuesIn(contents);
  if (contents.kind === "prefix") {
    const { tokens } = contents;
    const shape = { kind: "prefix", tokens, alsoTrained: [] } as const;
    return { name: folder, config, shape, definition: definePrefix(base, tokens), values };
  }
  const { modules, alsoTrained } = contents;
  const shape = { kind: "lora", modules, alsoTrained } as const;
  return { name: folder, config, shape, definition: defineLora(base, modules, alsoTrained), values };
}

/** The values of a folder. */
export function valuesIn({ values }: Pick<AdapterContents, "values">): ValuesOf {
  return ({ name }) => {
    const stored = values.get(name);
    return stored === undefined ? ZEROS : storedValues(stored);
  };
}

/**
 * What is recorded with a model is of one shape, whatever the values.
 * @throws Zo2Error ZO2_ERR_INVALID_ARGUMENT for the contents of a folder that are of another
 */
export function checkShape(folder: string, contents: AdapterContents, { shape, name }: Adapter): void {
  if (isDeepStrictEqual(shapeOf(contents), shapeOf(shape))) return;
  throw new Zo2Error(
    "ZO2_ERR_INVALID_ARGUMENT",
    `${folder}: the adapter is of another shape than ${name}, over which the model was loaded: ` +
      `${described(contents)}, and not ${described(shape)}; load the model with this one`,
  );
}

function shapeOf(shape: AdapterShape): unknown {
  const { kind, alsoTrained } = shape;
  return [kind, [...alsoTrained].sort(), shape.kind === "lora" ? shape.modules : shape.tokens];
}

function described(shape: AdapterShape): string {
  if (shape.kind !== "lora") return `a prefix of ${shape.tokens} tokens`;
  const ranks = [...new Set(shape.modules.map(({ rank }) => rank))].join(", ");
  const scales = [...new Set(shape.modules.map(({ scale }) => scale))].join(", ");
  const also = shape.alsoTrained.length === 0 ? "" : `, with ${shape.alsoTrained.join(", ")}`;
  return `a LoRA on ${shape.modules.length} layers, ranks ${ranks}, scales ${scales}${also}`;
}
