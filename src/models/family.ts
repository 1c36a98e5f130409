import type { HeadSpec } from "./head.js";
import type { ParameterSpec } from "../ops/parameter.js";
import type { Recorder } from "../ops/record.js";

/** What the rest of the package needs to know of one model, whatever its family. */
export interface ModelDefinition {
  readonly family: string;
  readonly vocabSize: number;
  /** Longest sequence, in tokens. */
  readonly maxPositions: number;
  readonly head: HeadSpec;
  /** In the order of transformers' `named_parameters()`; a tied tensor once. */
  readonly parameters: readonly ParameterSpec[];
  /**
   * Prefixes of the names under which checkpoints of the family store the tensors ("" for none), as Hugging Face
   * accepts them.
   */
  readonly namePrefixes: readonly string[];
  /** Other names under which a tensor may be stored: those of what is tied to it. */
  readonly aliases: ReadonlyMap<string, readonly string[]>;
  /** Position p of a sequence (from 0) reads this row of the position table, or rotates by this many steps. */
  positionRow(position: number): number;
  record(recorder: Recorder): void;
}

/**
 * One architecture: reads a `config.json` and declares the model. Throws ZO2_ERR_MODEL_UNSUPPORTED, naming the field.
 */
export interface ModelFamily {
  /** `model_type` of `config.json`. */
  readonly modelType: string;
  define(config: Readonly<Record<string, unknown>>, head: HeadSpec): ModelDefinition;
}
