import type { Probe } from "../method/index.js";
import type { Resource } from "./resource.js";

/** Four lanes, each in order; `compute` alone when overlap is off. */
export type Lane = "upload" | "prepare" | "compute" | "offload";
export const LANES = ["upload", "prepare", "compute", "offload"] as const satisfies readonly Lane[];

/** Their places in `LANES`. */
export const LANE_NUMBER = { upload: 0, prepare: 1, compute: 2, offload: 3 } as const satisfies Record<Lane, number>;

/** What moves between where it rests and a slot of the device. */
export type Moved = "weights" | "cache";

/**
 * What one command does. Numbers are indices: of units, slots, scratches and sets of them, micro-batches, probes,
 * rings, states.
 */
export type Work =
  | { readonly kind: "inputs"; readonly ring: number }
  | { readonly kind: "gather"; readonly ring: number }
  | { readonly kind: "upload"; readonly what: Moved; readonly unit: number; readonly slot: number }
  | { readonly kind: "offload"; readonly what: Moved; readonly unit: number; readonly slot: number }
  /**
   * Pending updates in (`update`), updated wire bytes out (`store`), the sides of one direction out, each to a scratch
   * of the set.
   */
  | {
      readonly kind: "prepare";
      readonly unit: number;
      readonly slot: number | null;
      readonly update: boolean;
      readonly store: boolean;
      readonly direction: number | null;
      readonly signs: readonly Probe["sign"][];
      readonly set: number;
    }
  /** The same for the gathered rows of a tied embedding; nothing is stored. */
  | {
      readonly kind: "prepareGathered";
      readonly unit: number;
      readonly ring: number;
      readonly update: boolean;
      readonly direction: number | null;
      readonly signs: readonly Probe["sign"][];
      readonly set: number;
    }
  /** `scratch`: null to read the wire bytes as they are, in their slot or where they rest. */
  | {
      readonly kind: "run";
      readonly unit: number;
      readonly probe: number;
      readonly microBatch: number;
      readonly ring: number;
      readonly scratch: number | null;
      readonly slot: number | null;
      readonly cacheSlot: number | null;
    }
  | { readonly kind: "loss"; readonly probe: number; readonly microBatch: number; readonly ring: number }
  | { readonly kind: "coefficients" }
  /** Puts coefficients that came with the batch in the place of those of the losses. */
  | { readonly kind: "inject"; readonly ring: number }
  | { readonly kind: "readback"; readonly ring: number; readonly results: boolean }
  /** Test mode: fills with NaN what nothing may read any more. */
  | { readonly kind: "poison"; readonly what: "slot" | "staging"; readonly index: number }
  | { readonly kind: "poison"; readonly what: "scratch"; readonly sets: readonly number[] }
  /** Outside of passes: zeroes the states and the flags, or the flags alone. */
  | { readonly kind: "clear"; readonly what: "control" | "sticky" }
  /** Coefficients that the host computed, to the state of their step. */
  | { readonly kind: "adopt"; readonly state: number }
  /** A unit where it rests: to memory elsewhere, and from there. */
  | { readonly kind: "fetch"; readonly unit: number }
  | { readonly kind: "put"; readonly unit: number }
  /** Nothing, but after everything that the lane was given before. */
  | { readonly kind: "settle" };

/** Work on a lane, with all that it reads and writes. */
export interface Declared {
  readonly kind: "work";
  readonly lane: Lane;
  readonly work: Work;
  readonly reads: readonly Resource[];
  readonly writes: readonly Resource[];
}

/** Takes one more declared command. */
export type Emit = (lane: Lane, work: Work, reads: readonly Resource[], writes: readonly Resource[]) => void;

/** What is handed to the device, in this order. An event is a number, to be used again when nothing waits for it. */
export type Command =
  | Declared
  | { readonly kind: "record"; readonly lane: Lane; readonly event: number }
  | { readonly kind: "wait"; readonly lane: Lane; readonly event: number };
