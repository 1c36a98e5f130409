import { drawsOf } from "../method/index.js";
import type { Declared, Emit } from "./command.js";
import type { Pass, SchedulePlan } from "./facts.js";
import * as resource from "./resource.js";
import { type Tour, Visit } from "./visit.js";

/** All commands of a pass, unit by unit, with what they read and write. Pure: `Timeline` finds the waits they need. */
export function passCommands(plan: SchedulePlan, pass: Pass): readonly Declared[] {
  const list: Declared[] = [];
  const tour: Tour = {
    plan,
    pass,
    draws: drawsOf(pass.probes),
    emit: (lane, work, reads, writes) => list.push({ kind: "work", lane, work, reads, writes }),
    pending: pass.pending.map(resource.state),
    scratch: Array.from({ length: plan.sides }, (_, side) => resource.scratch(side)),
  };
  const { emit } = tour;
  const runs = pass.probes.length > 0;
  if (runs) bringBatch(plan, pass.ring, emit);
  plan.units.forEach((_, unit) => {
    const visit = new Visit(tour, unit);
    if (runs) visit.forward();
    else visit.flush();
  });
  if (pass.yields === "coefficients" && pass.state !== null) {
    const state = resource.state(pass.state);
    emit("compute", { kind: "coefficients" }, [], [state, resource.STICKY]);
    if (pass.injects) emit("compute", { kind: "inject", ring: pass.ring }, [resource.inputs(pass.ring)], [state]);
  }
  readback(plan, pass, emit);
  return list;
}

function bringBatch(plan: SchedulePlan, ring: number, emit: Emit): void {
  const staging = resource.staging(ring);
  emit("upload", { kind: "inputs", ring }, [staging], [resource.inputs(ring)]);
  if (plan.gatherSources.length > 0) {
    const reads = [staging, ...plan.gatherSources.map(resource.rest)];
    emit("upload", { kind: "gather", ring }, reads, [resource.GATHERED]);
  }
  if (plan.poison) emit("upload", { kind: "poison", what: "staging", index: ring }, [], [staging]);
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
