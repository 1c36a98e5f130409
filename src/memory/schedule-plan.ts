import { at } from "../base/at.js";
import type { Parameter } from "../ops/parameter.js";
import type { SchedulePlan } from "../schedule/facts.js";
import { holdsTable, type Plan, scratchSets } from "./plan.js";
import { isDirect } from "./units.js";

/** What a schedule needs to know of a plan. */
export function schedulePlan(plan: Plan, frozen: ReadonlySet<Parameter>, poison: boolean): SchedulePlan {
  const cacheSlots = plan.device.cacheSlots.length;
  let pieces = 0;
  return {
    units: plan.units.map((unit) => {
      const cached = (plan.cache?.units[unit.index] ?? null) !== null;
      return {
        slot: plan.slotOf[unit.index] ?? null,
        staging: plan.stagingOf[unit.index] ?? null,
        changes: plan.options.residences[unit.index]?.changes === true,
        direct: isDirect(unit),
        gathered: unit.gathered === null ? null : { changes: !frozen.has(unit.gathered.parameter) },
        cacheSlot: cached && cacheSlots > 0 ? pieces++ % cacheSlots : null,
        brings: at(plan.places.carries, unit.index).brings.length > 0,
        takes: at(plan.places.carries, unit.index).takes.length > 0,
      };
    }),
    carriedSlots: plan.device.carriedSlots.length,
    gatherSources: plan.units.filter((unit) => holdsTable(plan.units, unit)).map(({ index }) => index),
    sides: plan.options.sides,
    sets: scratchSets(plan.options),
    poison,
  };
}
