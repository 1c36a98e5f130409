import { planMemory, type Plan, type PlanOptions } from "../../../src/memory/plan.js";
import type { Unit } from "../../../src/memory/units.js";

export const capacity = {
  rows: 40,
  sequences: 3,
  headRows: 30,
  targets: 30,
  tableRows: 40,
  microBatches: 2,
  objectiveWords: 1,
};

export type Changed = Partial<PlanOptions>;

/** A step's plan, streamed, unless it is said otherwise. */
export function planOf(units: readonly Unit[], o: Changed = {}): Plan {
  return planMemory(units, {
    tier: "host",
    slots: 3,
    branches: 2,
    capacity,
    output: "logprobs",
    cache: null,
    wire: "fp16",
    compute: "fp32",
    ...o,
  });
}
