import { controlLayout } from "../../../src/memory/control.js";
import { planMemory, type Plan, type PlanOptions } from "../../../src/memory/plan.js";
import { residencesOf, type Tier } from "../../../src/memory/residence.js";
import type { Unit } from "../../../src/memory/units.js";

export const capacity = {
  rows: 40,
  sequences: 3,
  headRows: 30,
  targets: 30,
  tableRows: 40,
  prefixRows: 0,
  keyRows: 40,
  microBatches: 2,
  objectiveWords: 1,
};

export type Changed = Partial<PlanOptions> & { readonly tier?: Tier };

/** Two probes along one direction, streamed, unless it is said otherwise. */
export function planOf(units: readonly Unit[], { tier = "host", ...o }: Changed = {}): Plan {
  return planMemory(units, {
    residences: residencesOf(units, () => tier, new Set()),
    control: controlLayout(4),
    slots: 3,
    probes: 2,
    sides: 2,
    prepareAhead: false,
    activations: "device",
    capacity,
    output: "logprobs",
    cache: null,
    compute: "fp32",
    ...o,
  });
}
