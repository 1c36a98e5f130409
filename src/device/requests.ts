/** What is asked of a session. */
import type { Capacity } from "../memory/places.js";
import type { CoefficientRule, DrawnNoise, PendingUpdate, Probe } from "../method/index.js";
import type { Output } from "../ops/value.js";
import type { CacheUse } from "./key-value-cache.js";
import type { Noise } from "./noise.js";

/** Along what weights are perturbed: z is a function of (seed, step, direction, element). `step`: 0 .. 2^32 - 1. */
export interface Direction {
  readonly seed: bigint;
  readonly step: number;
  readonly noise: Noise;
  readonly eps: number;
}

/** One zeroth-order step: where the loss is evaluated, what the losses become, and how that is applied later. */
export interface StepRequest extends Direction {
  readonly probes: readonly Probe[];
  readonly rule: CoefficientRule;
  readonly learningRate: number;
  readonly weightDecay: number;
  /** Replace the coefficients of the losses, one for each direction. For tests. */
  readonly coefficients?: readonly number[] | undefined;
}

export interface ForwardOptions {
  /** What the head leaves behind. @default what the batch's objective needs */
  readonly output?: Output | undefined;
  /** The key/value cache that attention reads and adds to. */
  readonly cache?: CacheUse | undefined;
  /** Where the weights stand, of a step's probes. @default in their place */
  readonly probe?: { readonly of: Direction; readonly at: Probe } | undefined;
}

/** The update of a step that was taken before. */
export interface ReplayedUpdate extends Pick<PendingUpdate<never>, "seed" | "step" | "learningRate" | "weightDecay"> {
  readonly noise: DrawnNoise;
  /** fp32, one for each direction. */
  readonly coefficients: readonly number[];
}

export interface ReplayOptions {
  readonly signal?: AbortSignal | undefined;
  /** Told how many updates have been applied. */
  readonly onProgress?: ((applied: number) => void) | undefined;
  /** The units that lack them. @default all */
  readonly units?: readonly number[] | undefined;
  /** What is said of units in a file when they have all of them. */
  readonly note?: Uint8Array | undefined;
}

/** What batches that are to come will need. */
export interface PlannedUse {
  readonly capacity: Capacity;
  readonly probes: readonly Probe[];
  readonly output: Output;
}
