/** What an adapter is to the rest: a few parameters behind a base, and the ops that use them. */
import type { ParameterSpec } from "../ops/parameter.js";
import type { Recorder } from "../ops/record.js";

/** What an adapter adds to a model, whatever its kind. */
export interface AdapterDefinition {
  readonly kind: "lora" | "prefix";
  /** Behind those of the base in the canonical order. */
  readonly parameters: readonly ParameterSpec[];
  /** Parameters of the base that are trained with the adapter's, such as a head. */
  readonly alsoTrained: readonly string[];
  /**
   * Rows of keys and values that every sequence sees in front of its own; positions of its tokens begin behind them.
   * 0: none.
   */
  readonly prefixRows: number;
  /** A recorder that records the adapter's ops with the model's. */
  over(recorder: Recorder): Recorder;
}
