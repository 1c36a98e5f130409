/** Activations between units that rest elsewhere: a run brings what it needs of its area, and takes what it leaves. */
import { at } from "../base/at.js";
import type { Emit, Lane } from "./command.js";
import type { SchedulePlan } from "./facts.js";
import * as resource from "./resource.js";

/** One run of a unit, and the area (probe x micro-batch) that it works with. */
export interface CarriedRun {
  readonly unit: number;
  readonly probe: number;
  readonly microBatch: number;
  readonly area: number;
}

/** The slots of a pass, taken in turns: while one is worked with, the next comes and the one before goes. */
export class CarriedSlots {
  private taken = 0;

  constructor(
    private readonly plan: SchedulePlan,
    private readonly emit: Emit,
  ) {}

  /** Whether areas rest elsewhere. */
  get move(): boolean {
    return this.plan.carriedSlots > 0;
  }

  /** The slot that a run works in; null where it works in its area, or with none. */
  bring({ area, ...run }: CarriedRun): number | null {
    const { brings, takes } = at(this.plan.units, run.unit);
    if (!this.move || !(brings || takes)) return null;
    const slot = this.taken++ % this.plan.carriedSlots;
    const work = { kind: "upload", what: "carried", ...run, slot } as const;
    if (brings) this.emit("upload", work, [resource.carriedRest(area)], [resource.carriedSlot(slot)]);
    return slot;
  }

  take({ area, ...run }: CarriedRun, slot: number | null): void {
    if (slot === null) return;
    const { takes } = at(this.plan.units, run.unit);
    const work = { kind: "offload", what: "carried", ...run, slot } as const;
    if (takes) this.emit("offload", work, [resource.carriedSlot(slot)], [resource.carriedRest(area)]);
    this.release(takes ? "offload" : "compute", slot);
  }

  /** Test mode: nothing may read a slot any more once its run has ended, and what it leaves was taken. */
  private release(lane: Lane, slot: number): void {
    if (!this.plan.poison) return;
    const work = { kind: "poison", what: "carriedSlot", index: slot } as const;
    this.emit(lane, work, [], [resource.carriedSlot(slot)]);
  }
}
