import type { Probe } from "../method/index.js";
import type { Resource } from "./resource.js";

/**
 * Six lanes, each in order; `compute` alone when overlap is off. `read` and `write` are those of what rests behind a
 * host slot.
 */
export const LANES = ["read", "upload", "prepare", "compute", "offload", "write"] as const;
export type Lane = (typeof LANES)[number];

/** Their places in `LANES`. */
export const LANE_NUMBER = {
  ...{ read: 0, upload: 1, prepare: 2 },
  ...{ compute: 3, offload: 4, write: 5 },
} as const satisfies Record<Lane, number>;

/** What moves between where it rests and a slot of the device. */
export type Moved = "weights" | "cache";

/**
 * What one command does. Numbers are indices: of units, slots, host slots, scratches and sets of them, micro-batches,
 * probes, rings, states.
 */
export type Work =
  | { readonly kind: "inputs"; readonly ring: number }
  /** Rows of a tied embedding: from where they rest to the device, and before it, of staged units, to the host. */
  | { readonly kind: "gather"; readonly ring: number }
  | { readonly kind: "readGathered"; readonly ring: number }
  /** A staged unit's wire bytes, between where they rest and a host slot. */
  | { readonly kind: "read"; readonly unit: number; readonly hostSlot: number }
  | { readonly kind: "write"; readonly unit: number; readonly hostSlot: number }
  /** `hostSlot`: null where what moves rests in host memory. */
  | {
      readonly kind: "upload" | "offload";
      readonly what: Moved;
      readonly unit: number;
      readonly slot: number;
      readonly hostSlot: number | null;
    }
  /** What a unit needs of an area of activations, and what it leaves there for later ones. */
  | {
      readonly kind: "upload" | "offload";
      readonly what: "carried";
      readonly unit: number;
      readonly probe: number;
      readonly microBatch: number;
      readonly slot: number;
    }
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
  /**
   * `scratch`: null to read the wire bytes as they are, in their slot or where they rest. `carriedSlot`: null to work
   * in the area itself.
   */
  | {
      readonly kind: "run";
      readonly unit: number;
      readonly probe: number;
      readonly microBatch: number;
      readonly ring: number;
      readonly scratch: number | null;
      readonly slot: number | null;
      readonly cacheSlot: number | null;
      readonly carriedSlot: number | null;
    }
  | { readonly kind: "loss"; readonly probe: number; readonly microBatch: number; readonly ring: number }
  | { readonly kind: "coefficients" }
  /** Puts coefficients that came with the batch in the place of those of the losses. */
  | { readonly kind: "inject"; readonly ring: number }
  | { readonly kind: "readback"; readonly ring: number; readonly results: boolean }
  /** Test mode: fills with NaN what nothing may read any more. */
  | { readonly kind: "poison"; readonly what: "slot" | "carriedSlot" | "hostSlot" | "staging"; readonly index: number }
  | { readonly kind: "poison"; readonly what: "hostGathered" }
  | { readonly kind: "poison"; readonly what: "scratch"; readonly sets: readonly number[] }
  /** Outside of passes: zeroes the states and the flags, or the flags alone. */
  | { readonly kind: "clear"; readonly what: "control" | "sticky" }
  /** Coefficients that the host computed, to the state of their step. */
  | { readonly kind: "adopt"; readonly state: number }
  /** A unit where it rests: to memory elsewhere, and from there. */
  | { readonly kind: "fetch"; readonly unit: number }
  | { readonly kind: "put"; readonly unit: number }
  /** What is said of units, beside where they rest. */
  | { readonly kind: "label" }
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
