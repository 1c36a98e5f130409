import { drawsOf } from "../method/index.js";
import { CarriedSlots } from "./carried.js";
import type { Declared, Emit } from "./command.js";
import type { Pass, SchedulePlan } from "./facts.js";
import * as resource from "./resource.js";
import { ScratchSets, type Tour, Visit } from "./visit.js";

/** All commands of a pass, unit by unit, with what they read and write. Pure: `Timeline` finds the waits they need. */
export function passCommands(plan: SchedulePlan, pass: Pass): readonly Declared[] {
  const list: Declared[] = [];
  emitPass(plan, pass, (lane, work, reads, writes) => list.push({ kind: "work", lane, work, reads, writes }));
  return list;
}

/** The same one by one, for whoever needs no list of them. */
export function emitPass(plan: SchedulePlan, pass: Pass, emit: Emit): void {
  const tour: Tour = {
    plan,
    pass,
    draws: drawsOf(pass.probes),
    emit,
    pending: pass.pending.map(resource.state),
    sets: new ScratchSets(plan),
    carried: new CarriedSlots(plan, emit),
  };
  const runs = pass.probes.length > 0;
  const visits = plan.units.map((_, unit) => new Visit(tour, unit));
  if (runs) bringBatch(tour, visits);
  for (const [unit, visit] of visits.entries()) {
    if (runs) visit.forward(visits[unit + 1]);
    else if (pass.only?.includes(unit) ?? true) visit.flush();
  }
  if (pass.yields === "coefficients" && pass.state !== null) {
    const state = resource.state(pass.state);
    emit("compute", { kind: "coefficients" }, [], [state, resource.STICKY]);
    if (pass.injects) emit("compute", { kind: "inject", ring: pass.ring }, [resource.inputs(pass.ring)], [state]);
  }
  readback(plan, pass, emit);
}

/** What comes with the batch; the rows of a tied embedding wait for the units that hold them to be taken. */
function bringBatch({ plan, pass, emit }: Tour, visits: readonly Visit[]): void {
  const { ring } = pass;
  const staging = resource.staging(ring);
  emit("upload", { kind: "inputs", ring }, [staging], [resource.inputs(ring)]);
  if (plan.gatherSources.length > 0) {
    const ahead = aheadOfGather(plan, pass);
    for (const visit of visits.slice(0, ahead)) visit.bring();
    const isStaged = (unit: number) => plan.units[unit]?.staging != null;
    const staged = plan.gatherSources.filter(isStaged);
    const others = plan.gatherSources.filter((unit) => !isStaged(unit));
    const reads = [staging, ...others.map(resource.rest)];
    if (staged.length > 0) {
      if (pass.pending.length > 0) for (const visit of visits.slice(ahead, readAhead(plan, ahead))) visit.read();
      emit("read", { kind: "readGathered", ring }, [staging, ...staged.map(resource.rest)], [resource.HOST_GATHERED]);
      reads.push(resource.HOST_GATHERED);
    }
    emit("upload", { kind: "gather", ring }, reads, [resource.GATHERED]);
    if (plan.poison && staged.length > 0)
      emit("upload", { kind: "poison", what: "hostGathered" }, [], [resource.HOST_GATHERED]);
  }
  if (plan.poison) emit("upload", { kind: "poison", what: "staging", index: ring }, [], [staging]);
}

/** The unit that is worked on first, and the one behind it. */
const MOST_AHEAD = 2;

/**
 * How many of the first units come ahead of the gathered rows. The rows wait for the last unit that holds them to be
 * taken, where the pass before has stored something; a unit that comes to another slot need not.
 */
function aheadOfGather({ units, gatherSources }: SchedulePlan, pass: Pass): number {
  if (pass.pending.length === 0) return 0;
  const taken = new Set<number | null>(gatherSources.map((unit) => units[unit]?.slot ?? null).slice(-1));
  let ahead = 0;
  for (const { slot } of units) {
    if (ahead === MOST_AHEAD || (slot !== null && taken.has(slot))) break;
    taken.add(slot);
    ahead++;
  }
  return ahead;
}

/**
 * Up to which unit what is staged is read ahead of the gathered rows, which wait for the last pass to be written: from
 * `from` on, as many units as have a host slot that no other of them fills.
 */
function readAhead({ units }: SchedulePlan, from: number): number {
  const taken = new Set<number>();
  for (let unit = from; unit < units.length; unit++) {
    const hostSlot = units[unit]?.staging?.read;
    if (hostSlot === undefined) continue;
    if (taken.has(hostSlot)) return unit;
    taken.add(hostSlot);
  }
  return units.length;
}

/**
 * The end of a pass: JavaScript may read what came back, write the staging memory, and after a flush read the weights.
 */
function readback(plan: SchedulePlan, pass: Pass, emit: Emit): void {
  const { ring, probes, microBatches, state } = pass;
  const runs = probes.length > 0;
  const results = pass.yields === "results";
  const areas = results ? Array.from({ length: probes.length * microBatches }, (_, area) => area) : [];
  const weights = plan.units.flatMap(({ changes }, unit) => (!runs && changes ? [resource.rest(unit)] : []));
  const states = state === null ? [] : [resource.state(state)];
  const reads = [...weights, resource.STICKY, ...states, ...areas.map(resource.results)];
  const writes = [resource.readback(ring), ...(runs ? [resource.staging(ring)] : [])];
  emit("compute", { kind: "readback", ring, results }, reads, writes);
}
