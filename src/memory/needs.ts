/** What a pass needs of a plan, wherever units rest. */
import { drawsOf, type Probe } from "../method/index.js";
import type { Output } from "../ops/value.js";
import type { Capacity } from "./places.js";
import type { PlanOptions } from "./plan.js";
import type { Unit } from "./units.js";

export type Needs = Pick<PlanOptions, "capacity" | "probes" | "sides" | "output" | "cache">;

/** What these probes need of any batches that a capacity holds. */
export function needsFor(units: readonly Unit[], capacity: Capacity, probes: readonly Probe[], output: Output): Needs {
  const gathers = units.some(({ gathered }) => gathered !== null);
  return {
    capacity: gathers ? capacity : { ...capacity, tableRows: 1 },
    probes: probes.length,
    sides: Math.max(1, ...drawsOf(probes).map(({ signs }) => signs.length)),
    output,
    cache: null,
  };
}
