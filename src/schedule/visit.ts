/** All that happens to one unit in a pass. */
import { at } from "../base/at.js";
import type { Draw } from "../method/index.js";
import type { Emit } from "./command.js";
import type { Pass, SchedulePlan } from "./facts.js";
import * as resource from "./resource.js";
import type { Resource } from "./resource.js";

/** What all visits of a pass have in common. */
export interface Tour {
  readonly plan: SchedulePlan;
  readonly pass: Pass;
  /** The probes, as far as they share noise. */
  readonly draws: readonly Draw[];
  readonly emit: Emit;
  /** What a unit reads whose pending updates are worked out. */
  readonly pending: readonly Resource[];
  /** Scratches, by side. */
  readonly scratch: readonly Resource[];
}

const NOTHING: readonly Resource[] = [];

/** A unit's visit: what is brought, prepared, run and taken, in this order. */
export class Visit {
  private readonly unit: SchedulePlan["units"][number];
  /** The unit's wire bytes on the device: in their slot, or where they rest. */
  private readonly place: Resource;
  /** Whether an update is pending for it, and is stored. */
  private readonly updates: boolean;
  private readonly stores: boolean;
  private readonly cacheSlot: number | null;
  private isHere = false;

  constructor(
    private readonly tour: Tour,
    private readonly index: number,
  ) {
    const { plan, pass } = tour;
    this.unit = at(plan.units, index);
    this.place = this.unit.slot === null ? resource.rest(index) : resource.slot(this.unit.slot);
    this.updates = pass.pending.length > 0 && this.unit.changes;
    this.stores = pass.stores && this.updates;
    this.cacheSlot = pass.cache?.moves === true ? this.unit.cacheSlot : null;
  }

  /** Stores what is pending, and runs nothing. */
  flush(): void {
    if (!this.stores) return;
    this.bring();
    this.prepare(FLUSHED, this.updates, true);
    this.take();
    this.release("offload");
  }

  /** Runs every probe: those of one direction share a prepare, and all share what was brought. */
  forward(): void {
    const draws = this.draws();
    const direct = this.unit.direct && !this.updates && draws.every(({ direction }) => direction === null);
    this.bring();
    draws.forEach((draw, d) => {
      const first = d === 0;
      // What the first prepare stored the others find in place.
      if (!direct) this.prepare(draw, this.updates && (first || !this.stores), this.stores && first);
      if (first && this.stores) this.take();
      if (!direct && d === draws.length - 1) this.release(this.stores ? "offload" : "compute");
      this.prepareGathered(draw);
      if (first) this.bringCache();
      this.run(draw, direct);
    });
    this.takeCache();
    if (direct) this.release("compute");
    this.releaseScratch();
  }

  /** Where nothing that the unit reads is trained, all probes stand at the same weights. */
  private draws(): readonly Draw[] {
    const { draws } = this.tour;
    if (this.unit.changes || this.unit.gathered?.changes === true) return draws;
    return [{ direction: null, probes: draws.flatMap(({ probes }) => probes), signs: [0] }];
  }

  /** Once, in front of everything else. */
  bring(): void {
    const { slot } = this.unit;
    if (slot === null || this.isHere) return;
    this.isHere = true;
    const work = { kind: "upload", what: "weights", unit: this.index, slot } as const;
    this.tour.emit("upload", work, [resource.rest(this.index)], [this.place]);
  }

  private take(): void {
    const { slot } = this.unit;
    if (slot === null) return;
    const work = { kind: "offload", what: "weights", unit: this.index, slot } as const;
    this.tour.emit("offload", work, [this.place], [resource.rest(this.index)]);
  }

  private prepare({ direction, signs }: Draw, update: boolean, store: boolean): void {
    const { emit, pending, scratch } = this.tour;
    const work = { kind: "prepare", unit: this.index, slot: this.unit.slot, update, store, direction, signs } as const;
    const reads = update ? [this.place, ...pending] : [this.place];
    const writes = scratch.slice(0, signs.length);
    if (store) writes.push(this.place);
    if (update) writes.push(resource.STICKY);
    emit("compute", work, reads, writes);
  }

  private prepareGathered({ direction, signs }: Draw): void {
    const { gathered } = this.unit;
    if (gathered === null) return;
    const { emit, pass, pending, scratch } = this.tour;
    const { ring } = pass;
    const update = pass.pending.length > 0 && gathered.changes;
    const reads = [resource.GATHERED, resource.inputs(ring), ...(update ? pending : NOTHING)];
    const writes = [...scratch.slice(0, signs.length), ...(update ? [resource.STICKY] : NOTHING)];
    emit("compute", { kind: "prepareGathered", unit: this.index, ring, update, direction, signs }, reads, writes);
  }

  private bringCache(): void {
    if (this.cacheSlot === null || this.tour.pass.cache?.upload !== true) return;
    const work = { kind: "upload", what: "cache", unit: this.index, slot: this.cacheSlot } as const;
    this.tour.emit("upload", work, [resource.cacheRest(this.index)], [resource.cacheSlot(this.cacheSlot)]);
  }

  private takeCache(): void {
    if (this.cacheSlot === null) return;
    const work = { kind: "offload", what: "cache", unit: this.index, slot: this.cacheSlot } as const;
    this.tour.emit("offload", work, [resource.cacheSlot(this.cacheSlot)], [resource.cacheRest(this.index)]);
  }

  private run({ probes, signs }: Draw, direct: boolean): void {
    const { plan, pass, emit } = this.tour;
    const { microBatches, ring, yields, state } = pass;
    const { slot } = this.unit;
    const yieldsLoss = yields === "coefficients" && state !== null && this.index === plan.units.length - 1;
    for (let microBatch = 0; microBatch < microBatches; microBatch++) {
      for (const [side, probe] of probes.entries()) {
        // Probes that stand at the same weights read the same scratch.
        const scratch = direct ? null : Math.min(side, signs.length - 1);
        const area = probe * microBatches + microBatch;
        const results = resource.results(area);
        const reads = [resource.inputs(ring), scratch === null ? this.place : resource.scratch(scratch)];
        const writes = [resource.carried(area), resource.WORKSPACE, results];
        if (pass.cache !== null && this.unit.cacheSlot !== null) writes.push(this.cachePlace());
        emit(
          "compute",
          { kind: "run", unit: this.index, probe, microBatch, ring, scratch, slot, cacheSlot: this.cacheSlot },
          reads,
          writes,
        );
        if (yieldsLoss)
          emit(
            "compute",
            { kind: "loss", probe, microBatch, ring },
            [results, resource.inputs(ring)],
            [resource.state(state)],
          );
      }
    }
  }

  private cachePlace(): Resource {
    return this.cacheSlot === null ? resource.deviceCache(this.index) : resource.cacheSlot(this.cacheSlot);
  }

  /** Test mode: nothing may read a slot any more once its unit has been prepared, run or taken. */
  private release(lane: "compute" | "offload"): void {
    const { slot } = this.unit;
    if (!this.tour.plan.poison || slot === null) return;
    this.tour.emit(lane, { kind: "poison", what: "slot", index: slot }, NOTHING, [this.place]);
  }

  private releaseScratch(): void {
    const { plan, emit, scratch } = this.tour;
    if (plan.poison) emit("compute", { kind: "poison", what: "scratch" }, NOTHING, [...scratch, resource.WORKSPACE]);
  }
}

/** Nothing is perturbed. */
const FLUSHED: Draw = { direction: null, probes: [], signs: [] };
