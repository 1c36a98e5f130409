import type { FloatType, WireType } from "../base/dtype.js";
import type { ControlLayout } from "../memory/control.js";
import type { Needs } from "../memory/needs.js";
import type { ActivationTier, Arrangement, Tier } from "../memory/residence.js";
import type { Declared } from "../schedule/command.js";
import type { Pass } from "../schedule/facts.js";
import type { DiskRest } from "./store.js";

/** Sees every pass when it is submitted, and what is done in it. */
export type PassObserver = (pass: Pass, commands: readonly Declared[]) => void;

/** How a session's weights rest, travel and change. */
export interface SessionOptions {
  /** Where each unit rests, at first where `arrange` is there. */
  readonly tierOf: (unit: number) => Tier;
  /**
   * Chooses where units and activations rest, how many units are on the device at once and whether they are prepared
   * ahead, for passes that need so much. Absent: all stays as it is.
   * @throws Zo2Error ZO2_ERR_MEMORY_BUDGET
   */
  readonly arrange?: ((needs: Needs, control: ControlLayout) => Arrangement) | undefined;
  /** What weights on disk rest in; absent where none do. */
  readonly disk?: DiskRest | undefined;
  readonly slots: number;
  readonly overlap: boolean;
  /** Whether units are prepared ahead of what runs; `"auto"`: on a GPU, where there is memory for it. */
  readonly prepareAhead: "auto" | "on" | "off";
  /** Where the activations between units rest; `"auto"`: on the device where there is room. */
  readonly activations: "auto" | ActivationTier;
  /** Of the visits of a unit that moves, how many there are for each that stores its pending updates. */
  readonly writeBackEvery: number;
  /** Of most matrices. */
  readonly wire: WireType;
  readonly compute: FloatType;
  readonly rounding: "nearest" | "stochastic";
  readonly deviceMemory?: number | undefined;
  readonly hostMemory?: number | undefined;
  readonly totalMemory?: number | undefined;
  readonly positionRow: (position: number) => number;
  /** Test mode: what nothing may read any more is filled with NaN. */
  readonly poison: boolean;
  readonly onPass?: PassObserver | undefined;
}
