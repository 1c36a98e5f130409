/** What is behind a model: for this package's own rooms. Users meet `Model`. */
import type { Adapter } from "./adapters/make.js";
import type { ResolvedModelOptions } from "./config/model.js";
import type { Session } from "./device/session.js";
import type { GenerateModel } from "./infer/generate/index.js";
import { microBatchTokens } from "./infer/limits.js";
import type { ModelDefinition } from "./models/family.js";
import type { Parameter } from "./ops/parameter.js";
import type { Tokenizer } from "./tokenizer/index.js";
import { Zo2Error } from "./base/errors.js";
import type { Warning } from "./base/warnings.js";

/** A checkpoint that was loaded, and the session that runs it. */
export interface Loaded {
  /** As it was asked for: a folder or a Hub id. */
  readonly name: string;
  readonly dir: string;
  /** The parsed `config.json`, as it was understood: see `Model`. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly tokenizer: Tokenizer | null;
  readonly options: ResolvedModelOptions;
  readonly definition: ModelDefinition;
  /** What is trained over the base; null: the model itself is. */
  readonly adapter: Adapter | null;
  /** Largest unit that its weights were cut for, in bytes. */
  readonly unitBytes: number;
  /** In the canonical order. */
  readonly parameters: readonly Parameter[];
  /** Tensors of the checkpoint that nothing was read from. */
  readonly unused: readonly string[];
  readonly warnings: readonly Warning[];
  /** XXH128 of every parameter's stored bytes, as the checkpoint or the adapter has them. */
  readonly fingerprints: ReadonlyMap<Parameter, string>;
  readonly session: Session;
}

/** For generation, and objectives over what is generated. @throws Zo2Error ZO2_ERR_MODEL_UNSUPPORTED */
export function generating(loaded: Loaded, maxTokens?: number): GenerateModel {
  const { session, tokenizer, dir, config, definition, options } = loaded;
  const { head, vocabSize, maxPositions } = definition;
  if (head.kind !== "causal") {
    throw new Zo2Error(
      "ZO2_ERR_MODEL_UNSUPPORTED",
      `${dir}: the head is for ${head.kind}, and text comes from the head of a causal language model; load such a ` +
        "checkpoint",
    );
  }
  const tokens = maxTokens ?? microBatchTokens(options.maxTokens, maxPositions);
  return { session, tokenizer, dir, config, vocabSize, maxPositions, maxTokens: tokens };
}

const parts = new WeakMap<object, Loaded>();

/** Says what is behind a model, once. */
export function bindLoaded(model: object, loaded: Loaded): void {
  parts.set(model, loaded);
}

/** @throws Zo2Error ZO2_ERR_INVALID_ARGUMENT for what `loadModel` has not made */
export function loadedOf(model: object): Loaded {
  const loaded = parts.get(model);
  if (loaded === undefined)
    throw new Zo2Error("ZO2_ERR_INVALID_ARGUMENT", "the model was not made by loadModel; load it");
  return loaded;
}
