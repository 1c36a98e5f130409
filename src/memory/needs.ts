/** What a pass needs of a plan, wherever units rest. */
import { drawsOf, type Probe } from "../method/index.js";
import type { Output } from "../ops/value.js";
import type { Capacity } from "./places.js";
import type { PlanOptions } from "./plan.js";
import { rowsOf } from "../ops/parameter.js";
import { isParameter } from "../ops/record.js";
import type { Unit } from "./units.js";

export type Needs = Pick<PlanOptions, "capacity" | "probes" | "sides" | "output" | "cache">;

/** What these probes need of any batches that a capacity holds. */
export function needsFor(units: readonly Unit[], capacity: Capacity, probes: readonly Probe[], output: Output): Needs {
  const gathers = units.some(({ gathered }) => gathered !== null);
  // At most one prefix for a sequence: some share theirs.
  const prefixRows = prefixRowsOf(units) * capacity.sequences;
  return {
    capacity: {
      ...capacity,
      ...(gathers ? {} : { tableRows: 1 }),
      ...{ prefixRows, keyRows: capacity.rows + prefixRows },
    },
    probes: probes.length,
    sides: Math.max(1, ...drawsOf(probes).map(({ signs }) => signs.length)),
    output,
    cache: null,
  };
}

/** Rows of keys and values that an adapter puts in front of a sequence; 0: none. */
export function prefixRowsOf(units: readonly Unit[]): number {
  for (const { op } of units.flatMap(({ ops }) => ops)) {
    const { index = null, table = null } = op.operands;
    if (index === null || table === null || isParameter(index) || !isParameter(table)) continue;
    if (index.rows === "prefixRows") return rowsOf(table).rows;
  }
  return 0;
}
