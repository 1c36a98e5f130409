/** All that happens to one unit in a pass. */
import { at } from "../base/at.js";
import type { CarriedSlots } from "./carried.js";
import type { Draw } from "../method/index.js";
import type { Emit, Lane } from "./command.js";
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
  readonly sets: ScratchSets;
  readonly carried: CarriedSlots;
}

/** The sets of scratches, taken in turns, and the lane that fills them. */
export class ScratchSets {
  /** Where there is but one set, nothing could be prepared ahead of what runs. */
  readonly lane: Lane;
  private readonly scratches: readonly (readonly Resource[])[];
  private taken = 0;

  constructor({ sets, sides }: Pick<SchedulePlan, "sets" | "sides">) {
    this.lane = sets > 1 ? "prepare" : "compute";
    this.scratches = Array.from({ length: sets }, (_, set) =>
      Array.from({ length: sides }, (_, side) => resource.scratch(set * sides + side)),
    );
  }

  next(): number {
    return this.taken++ % this.scratches.length;
  }

  /** Of the sides of a set. */
  of(set: number): readonly Resource[] {
    return at(this.scratches, set);
  }
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
  private isRead = false;
  private isHere = false;
  /** Those that the unit was prepared in. */
  private readonly sets: number[] = [];

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
    this.prepare(FLUSHED, this.tour.sets.next(), this.updates, true);
    this.take();
    this.release("offload");
  }

  /**
   * Runs every probe: those of one direction share a prepare, and all share what was brought.
   * @param next the visit behind it, whose unit comes ahead of the activations that the runs of this one bring.
   */
  forward(next: Visit | undefined): void {
    const draws = this.draws();
    const direct = this.unit.direct && !this.updates && draws.every(({ direction }) => direction === null);
    this.bring();
    if (this.tour.carried.move && next?.unit.slot !== this.unit.slot) next?.bring();
    draws.forEach((draw, d) => {
      const first = d === 0;
      const set = direct ? null : this.takeSet();
      // What the first prepare stored the others find in place.
      if (set !== null) this.prepare(draw, set, this.updates && (first || !this.stores), this.stores && first);
      if (first && this.stores) this.take();
      if (set !== null && d === draws.length - 1) this.release(this.stores ? "offload" : this.tour.sets.lane);
      if (set !== null) this.prepareGathered(draw, set);
      if (first) this.bringCache();
      this.run(draw, set);
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

  /** A staged unit's first way, once, in front of `bring`. */
  read(): void {
    const { staging } = this.unit;
    if (staging === null || this.isRead) return;
    this.isRead = true;
    const work = { kind: "read", unit: this.index, hostSlot: staging.read } as const;
    this.tour.emit("read", work, [resource.rest(this.index)], [resource.hostSlot(staging.read)]);
  }

  /** Once, in front of everything else. */
  bring(): void {
    const { slot, staging } = this.unit;
    if (slot === null || this.isHere) return;
    this.isHere = true;
    this.read();
    const hostSlot = staging?.read ?? null;
    const work = { kind: "upload", what: "weights", unit: this.index, slot, hostSlot } as const;
    this.tour.emit("upload", work, [this.host(hostSlot)], [this.place]);
    this.releaseHostSlot("upload", hostSlot);
  }

  private take(): void {
    const { slot, staging } = this.unit;
    if (slot === null) return;
    const hostSlot = staging?.write ?? null;
    const work = { kind: "offload", what: "weights", unit: this.index, slot, hostSlot } as const;
    this.tour.emit("offload", work, [this.place], [this.host(hostSlot)]);
    if (hostSlot === null) return;
    const rest = resource.rest(this.index);
    this.tour.emit("write", { kind: "write", unit: this.index, hostSlot }, [resource.hostSlot(hostSlot)], [rest]);
    this.releaseHostSlot("write", hostSlot);
  }

  /** Where the unit's bytes are in host memory. */
  private host(hostSlot: number | null): Resource {
    return hostSlot === null ? resource.rest(this.index) : resource.hostSlot(hostSlot);
  }

  private takeSet(): number {
    const set = this.tour.sets.next();
    if (!this.sets.includes(set)) this.sets.push(set);
    return set;
  }

  private prepare({ direction, signs }: Draw, set: number, update: boolean, store: boolean): void {
    const { emit, pending, sets } = this.tour;
    const { slot } = this.unit;
    const reads = update ? [this.place, ...pending] : [this.place];
    const writes = sets.of(set).slice(0, signs.length);
    if (store) writes.push(this.place);
    if (update) writes.push(resource.STICKY);
    emit(sets.lane, { kind: "prepare", unit: this.index, slot, update, store, direction, signs, set }, reads, writes);
  }

  private prepareGathered({ direction, signs }: Draw, set: number): void {
    const { gathered } = this.unit;
    if (gathered === null) return;
    const { emit, pass, pending, sets } = this.tour;
    const { ring } = pass;
    const update = pass.pending.length > 0 && gathered.changes;
    const reads = [resource.GATHERED, resource.inputs(ring), ...(update ? pending : NOTHING)];
    const writes = [...sets.of(set).slice(0, signs.length), ...(update ? [resource.STICKY] : NOTHING)];
    const work = { kind: "prepareGathered", unit: this.index, ring, update, direction, signs, set } as const;
    emit(sets.lane, work, reads, writes);
  }

  private bringCache(): void {
    if (this.cacheSlot === null || this.tour.pass.cache?.upload !== true) return;
    const work = { kind: "upload", what: "cache", unit: this.index, slot: this.cacheSlot, hostSlot: null } as const;
    this.tour.emit("upload", work, [resource.cacheRest(this.index)], [resource.cacheSlot(this.cacheSlot)]);
  }

  private takeCache(): void {
    if (this.cacheSlot === null) return;
    const work = { kind: "offload", what: "cache", unit: this.index, slot: this.cacheSlot, hostSlot: null } as const;
    this.tour.emit("offload", work, [resource.cacheSlot(this.cacheSlot)], [resource.cacheRest(this.index)]);
  }

  /** @param set null to read the wire bytes as they are. */
  private run({ probes, signs }: Draw, set: number | null): void {
    const { plan, pass, emit, carried } = this.tour;
    const { microBatches, ring, yields, state } = pass;
    const { slot } = this.unit;
    const yieldsLoss = yields === "coefficients" && state !== null && this.index === plan.units.length - 1;
    for (let microBatch = 0; microBatch < microBatches; microBatch++) {
      for (const [side, probe] of probes.entries()) {
        // Probes that stand at the same weights read the same scratch.
        const scratch = set === null ? null : set * plan.sides + Math.min(side, signs.length - 1);
        const area = probe * microBatches + microBatch;
        const results = resource.results(area);
        const carriedRun = { unit: this.index, probe, microBatch, area };
        const carriedSlot = carried.bring(carriedRun);
        const reads = [resource.inputs(ring), scratch === null ? this.place : resource.scratch(scratch)];
        const place = carriedSlot === null ? resource.carried(area) : resource.carriedSlot(carriedSlot);
        const writes = [place, resource.WORKSPACE, results];
        if (pass.cache !== null && this.unit.cacheSlot !== null) writes.push(this.cachePlace());
        emit(
          "compute",
          {
            kind: "run",
            unit: this.index,
            probe,
            microBatch,
            ring,
            scratch,
            slot,
            cacheSlot: this.cacheSlot,
            carriedSlot,
          },
          reads,
          writes,
        );
        carried.take(carriedRun, carriedSlot);
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
  private release(lane: Lane): void {
    const { slot } = this.unit;
    if (!this.tour.plan.poison || slot === null) return;
    this.tour.emit(lane, { kind: "poison", what: "slot", index: slot }, NOTHING, [this.place]);
  }

  /** Test mode: nothing may read a host slot any more once the unit has left it. */
  private releaseHostSlot(lane: Lane, hostSlot: number | null): void {
    if (!this.tour.plan.poison || hostSlot === null) return;
    const work = { kind: "poison", what: "hostSlot", index: hostSlot } as const;
    this.tour.emit(lane, work, NOTHING, [resource.hostSlot(hostSlot)]);
  }

  private releaseScratch(): void {
    const { plan, emit, sets } = this.tour;
    if (!plan.poison) return;
    const writes = [...this.sets.flatMap((set) => sets.of(set)), resource.WORKSPACE];
    emit("compute", { kind: "poison", what: "scratch", sets: this.sets }, NOTHING, writes);
  }
}

/** Nothing is perturbed. */
const FLUSHED: Draw = { direction: null, probes: [], signs: [] };
