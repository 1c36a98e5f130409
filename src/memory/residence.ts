/** Of each unit: where its wire bytes rest, whether they are brought and taken, and whether anything in it changes. */
import type { Parameter } from "../ops/parameter.js";
import type { Unit } from "./units.js";

/** Where wire bytes rest between visits. */
export type Tier = "device" | "host" | "disk";

export interface Residence {
  readonly rest: Tier;
  /** Whether a visit brings the bytes to a slot of the device, and takes them back where it has changed them. */
  readonly moves: boolean;
  /** Whether anything in the unit is trained. */
  readonly changes: boolean;
}

/** How a model is held: what a plan depends on besides what a pass needs. */
export interface Arrangement {
  /** Where each unit rests. */
  readonly tiers: readonly Tier[];
  /** Units on the device at once, of those that move. */
  readonly slots: number;
  /** Whether one unit is prepared while another runs. */
  readonly prepareAhead: boolean;
}

/** @param frozen parameters that no update concerns. */
export function residencesOf(
  units: readonly Unit[],
  tierOf: (unit: number) => Tier,
  frozen: ReadonlySet<Parameter>,
): readonly Residence[] {
  return units.map(({ index, tensors }) => {
    const rest = tierOf(index);
    return { rest, moves: rest !== "device", changes: tensors.some(({ parameter }) => !frozen.has(parameter)) };
  });
}
