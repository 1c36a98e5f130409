/** Of each unit: where its wire bytes rest, whether they are brought and taken, and whether anything in it changes. */
import type { Parameter } from "../ops/parameter.js";
import type { Unit } from "./units.js";

/** Where wire bytes rest between visits. */
export type Tier = "device" | "host" | "disk";

/** Where activations rest between units. */
export type ActivationTier = Exclude<Tier, "disk">;

export interface Residence {
  readonly rest: Tier;
  /** Whether a visit brings the bytes to a slot of the device, and takes them back where it has changed them. */
  readonly moves: boolean;
  /** Whether anything in the unit is trained. */
  readonly changes: boolean;
  /** Of one on disk: whether it has room in a scratch file, or will need it. */
  readonly scratch: boolean;
}

/** How a model is held: what a plan depends on besides what a pass needs. */
export interface Arrangement {
  /** Where each unit rests. */
  readonly tiers: readonly Tier[];
  /** Units on the device at once, of those that move. */
  readonly slots: number;
  /** Whether one unit is prepared while another runs. */
  readonly prepareAhead: boolean;
  /** Where the activations between units rest. */
  readonly activations: ActivationTier;
}

/** Whether anything in a unit is trained. @param frozen parameters that no update concerns. */
export function changesOf({ tensors }: Unit, frozen: ReadonlySet<Parameter>): boolean {
  return tensors.some(({ parameter }) => !frozen.has(parameter));
}

/**
 * @param frozen parameters that no update concerns.
 * @param hasRoom which units have a place in a scratch file already.
 */
export function residencesOf(
  units: readonly Unit[],
  tierOf: (unit: number) => Tier,
  frozen: ReadonlySet<Parameter>,
  hasRoom: (unit: number) => boolean = () => false,
): readonly Residence[] {
  return units.map((unit) => {
    const rest = tierOf(unit.index);
    const changes = changesOf(unit, frozen);
    const scratch = rest === "disk" && (changes || !unit.inFiles || hasRoom(unit.index));
    return { rest, moves: rest !== "device", changes, scratch };
  });
}
