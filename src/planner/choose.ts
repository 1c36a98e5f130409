/**
 * How a model's weights are cut, where each unit rests, and how many are on the device at once: what takes the least
 * time, by `simulate`, of all that fits in the memory that is allowed.
 */
import type { FloatType } from "../base/dtype.js";
import type { ControlLayout } from "../memory/control.js";
import { needsFor } from "../memory/needs.js";
import type { Capacity } from "../memory/places.js";
import type { Plan } from "../memory/plan.js";
import type { Arrangement } from "../memory/residence.js";
import { cutUnits, largestLayer, type Unit, type UnitOptions } from "../memory/units.js";
import type { Probe } from "../method/index.js";
import type { Recording } from "../ops/record.js";
import type { Output } from "../ops/value.js";
import type { Hardware } from "../simulate/hardware.js";
import { type SimulatedStep, simulateStep, type SimulateOptions } from "../simulate/simulate.js";
import { type Budgets, Met, nothingFits, type Pinned } from "./budgets.js";
import { type ArrangeOptions, Cut, fitting, tiersOf } from "./fill.js";

export interface ChoiceOptions extends Budgets, Pick<UnitOptions, "wire" | "wires" | "asStored"> {
  readonly compute: FloatType;
  readonly pinned: Pinned;
  /** What a step has to have room for. */
  readonly capacity: Capacity;
  readonly probes: readonly Probe[];
  readonly output: Output;
  readonly control: ControlLayout;
  readonly hardware: Hardware;
  readonly step: Omit<SimulateOptions, "probes" | "overlap" | "microBatches" | "enough">;
  readonly overlap: boolean;
}

/** A way to hold a model. */
export interface Choice extends Arrangement {
  readonly unitBytes: number;
  readonly units: readonly Unit[];
  readonly plan: Plan;
  readonly predicted: SimulatedStep;
}

/** Smaller transfers spend their time on beginning. */
const LEAST_UNIT_BYTES = 2 ** 16;
const HALVINGS = 12;
/** Sizes that may be slower than the best before the search ends. */
const PATIENCE = 2;

/** What has room, whatever time it takes. */
export type Fit = Omit<Choice, "predicted">;

/** What room depends on. */
export type RoomOptions = Omit<ChoiceOptions, "hardware" | "step">;

/**
 * @throws Zo2Error ZO2_ERR_MEMORY_BUDGET where nothing fits, with the least that would
 */
export function choosePlan(recording: Recording, o: ChoiceOptions): Choice {
  let best: Choice | null = null;
  let worse = 0;
  const met = new Met();
  for (const fits of fitsOf(recording, o, o.hardware.overlaps && o.overlap, met)) {
    // With fewer slots or less scratch there is room for more resident units: each kind that fits may be the fastest.
    if (fits.length === 0) continue;
    const before: Choice | null = best;
    for (const fit of fits) {
      const predicted = simulate(recording, fit.plan, o, best?.predicted.seconds);
      if (best === null || predicted.seconds < best.predicted.seconds) best = { ...fit, predicted };
    }
    worse = best === before ? worse + 1 : 0;
    // Where all is on the device nothing is gained by cutting it smaller, nor where the last sizes were slower.
    if (isOnDevice(best) || worse === PATIENCE) break;
  }
  if (best !== null) return best;
  throw nothingFits(met, o);
}

/**
 * The first that fits, for hardware of which nothing is known: activations on the device, the largest units, the most
 * slots.
 * @throws Zo2Error ZO2_ERR_MEMORY_BUDGET where nothing fits, with the least that would
 */
export function firstThatFits(recording: Recording, o: RoomOptions): Fit {
  const met = new Met();
  for (const activations of tiersOf(o.pinned, { probes: o.probes.length, capacity: o.capacity })) {
    const pinned = { ...o.pinned, activations };
    for (const [first] of fitsOf(recording, { ...o, pinned }, o.overlap, met)) if (first !== undefined) return first;
  }
  throw nothingFits(met, o);
}

/**
 * The first way to hold these units that fits: the most slots, and prepared ahead.
 * @throws Zo2Error ZO2_ERR_MEMORY_BUDGET where nothing fits, with the least that would
 */
export function arrangeUnits(units: readonly Unit[], o: ArrangeOptions): Arrangement {
  const met = new Met();
  const [first] = fitting(new Cut(units, o), o, o.overlap, met);
  if (first !== undefined) return first;
  throw nothingFits(met, { ...o, pinned: { ...o.pinned, unitBytes: 0 } });
}

/** By unit size, largest first, what fits: the most slots, and prepared ahead, first. */
function* fitsOf(recording: Recording, o: RoomOptions, overlaps: boolean, met: Met): Generator<readonly Fit[]> {
  const { wire, wires, asStored, compute, capacity, probes, output } = o;
  for (const unitBytes of unitSizes(recording, o)) {
    const units = cutUnits(recording, { wire, wires, asStored, compute, unitBytes });
    const cut = new Cut(units, { compute, needs: needsFor(units, capacity, probes, output) });
    yield fitting(cut, o, overlaps, met).map((filled) => ({ ...filled, unitBytes, units }));
  }
}

function isOnDevice(choice: Choice | null): boolean {
  return choice?.activations === "device" && choice.tiers.every((tier) => tier === "device");
}

function simulate(recording: Recording, plan: Plan, o: ChoiceOptions, enough?: number): SimulatedStep {
  const { probes, overlap, capacity, step } = o;
  return simulateStep(plan, recording.inputs, o.hardware, {
    ...{ ...step, probes, overlap, microBatches: capacity.microBatches, enough },
  });
}

/** The largest layer, and halves of it. */
function unitSizes(recording: Recording, { pinned, wire, wires, compute }: RoomOptions): readonly number[] {
  if (pinned.unitBytes !== undefined) return [pinned.unitBytes];
  const largest = largestLayer(recording, { wire, wires, compute });
  const sizes: number[] = [];
  for (
    let size = largest, i = 0;
    i < HALVINGS && (i === 0 || size >= LEAST_UNIT_BYTES);
    size = Math.ceil(size / 2), i++
  )
    sizes.push(size);
  return sizes;
}
