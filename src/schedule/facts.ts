/** What a schedule is made from. */
import type { Probe } from "../method/index.js";

/** The part of a plan that a schedule depends on. */
export interface SchedulePlan {
  readonly units: readonly {
    /** Where its bytes are brought to; null for a unit whose bytes are used where they rest. */
    readonly slot: number | null;
    /** The host slots that its bytes pass through on their way; null where none is between. `write`: if it changes. */
    readonly staging: { readonly read: number; readonly write: number | null } | null;
    /** Whether anything in it is trained. */
    readonly changes: boolean;
    /** Whether its wire bytes are what its program reads, so that they need no prepare where nothing changes them. */
    readonly direct: boolean;
    /** Rows of a table that other units hold, and whether that is trained; null where the unit reads none. */
    readonly gathered: { readonly changes: boolean } | null;
    /** Where its piece of a cache is brought to, when the cache moves; null for a unit without one. */
    readonly cacheSlot: number | null;
    /** Whether it needs activations that earlier units have left, and leaves some for later ones. */
    readonly brings: boolean;
    readonly takes: boolean;
  }[];
  /** Where activations between units are brought to; 0 where they are used where they rest. */
  readonly carriedSlots: number;
  /** Units whose wire bytes hold the rows that are gathered. */
  readonly gatherSources: readonly number[];
  /** Scratches of a set: for the perturbed weights of one unit along one direction. */
  readonly sides: number;
  /** Sets of scratches. With more than one, units are prepared on a lane of their own, ahead of what runs. */
  readonly sets: number;
  readonly poison: boolean;
}

/** One pass over the model: every unit is visited once, whatever the number of probes. */
export interface Pass {
  /** Forward passes; none in a flush, which only stores what is pending. */
  readonly probes: readonly Probe[];
  readonly microBatches: number;
  /** States of the steps whose updates are pending, oldest first. */
  readonly pending: readonly number[];
  /** Of a flush: the units that it visits, where others have what is pending already. @default all */
  readonly only?: readonly number[];
  /** Whether what is pending is stored; else it is worked out in scratch. */
  readonly stores: boolean;
  /** What the results of the probes become: coefficients on the device, or numbers for the caller. */
  readonly yields: "coefficients" | "results" | null;
  /** Whether the coefficients come with the batch, in the place of those of the losses. */
  readonly injects: boolean;
  /** State of the step that the pass takes. */
  readonly state: number | null;
  /** Which of the two sets of batch tables and readback memory this pass uses. */
  readonly ring: number;
  /** The key/value cache of attention: whether it moves, and whether earlier passes have left something there. */
  readonly cache: { readonly moves: boolean; readonly upload: boolean } | null;
}
