/** The numbers behind the commands of one pass. */
import type { Buffer } from "zo2/native";
import type { Batch } from "../memory/batch-tables.js";
import type { RowRange } from "../memory/cache-layout.js";
import type { CoefficientRule, LowRankNoise, PendingUpdate } from "../method/index.js";
import type { Span } from "./words.js";

/** The noise of one step; `buffer` (tests only) is a table of z in the canonical order. */
export type NoiseSource =
  | { readonly kind: "gaussian" | "rademacher" }
  | LowRankNoise
  | { readonly kind: "buffer"; readonly z: Span };

/** How far perturbed weights stand from their place, and along what. */
export interface Perturbation {
  readonly seed: bigint;
  readonly step: number;
  readonly noise: NoiseSource;
  readonly eps: number;
}

interface Common {
  /** Updates that the units do not have yet, oldest first. */
  readonly pending: readonly PendingUpdate<NoiseSource>[];
  readonly rounding: "nearest" | "stochastic";
}

interface WithBatch extends Common {
  readonly batch: Batch;
  /** Forward passes over it. */
  readonly probes: number;
  /** Rows of the gathered table, ascending; null where no table is gathered. */
  readonly table: Int32Array | null;
}

/** Stores what is pending, and runs nothing. */
export interface FlushData extends Common {
  readonly kind: "flush";
}

/** Forward passes whose results are read back. */
export interface ForwardData extends WithBatch {
  readonly kind: "forward";
  /** Null where the weights are in their place. */
  readonly perturbation: Perturbation | null;
  /** The memory behind the pass' cache: rows that earlier passes filled, and those that this one adds. */
  readonly cache: {
    readonly buffer: Buffer;
    readonly used: readonly RowRange[];
    readonly added: readonly RowRange[];
  } | null;
}

/** The probes of a step. */
export interface StepData extends WithBatch {
  readonly kind: "step";
  readonly perturbation: Perturbation;
  readonly rule: CoefficientRule;
  /** Where losses and coefficients go. */
  readonly state: number;
  /** Labelled tokens or examples of the whole batch: what the loss is a mean of. */
  readonly labelled: number;
}

export type PassData = FlushData | ForwardData | StepData;
