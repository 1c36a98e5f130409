/** Where the units of one cut rest: as many as have room on the device, then in host memory, then on disk. */
import { at } from "../base/at.js";
import { align, type FloatType } from "../base/dtype.js";
import { ARENA_ALIGNMENT } from "../memory/arena.js";
import type { ControlLayout } from "../memory/control.js";
import type { Needs } from "../memory/needs.js";
import { type Places, placeValues } from "../memory/places.js";
import { activationTiers, deviceBytes, hostBytes, type Plan, planMemory } from "../memory/plan.js";
import { type ActivationTier, type Arrangement, residencesOf, type Tier } from "../memory/residence.js";
import { fixedIn, isAdapterUnit, type Unit } from "../memory/units.js";
import { type Budgets, type Met, type Pinned, within } from "./budgets.js";

/** Three let an upload, a computation and an offload overlap; with two, what goes makes room for what comes. */
const SLOTS = [3, 2];

/** What another pass needs of a model that is cut already. */
export interface ArrangeOptions extends Budgets {
  readonly pinned: Omit<Pinned, "unitBytes">;
  readonly needs: Needs;
  readonly control: ControlLayout;
  readonly compute: FloatType;
  readonly overlap: boolean;
}

/** Of one cut. */
export function fitting(
  cut: Cut,
  o: Omit<ArrangeOptions, "needs" | "compute" | "overlap">,
  overlaps: boolean,
  met: Met,
): readonly (Arrangement & { readonly plan: Plan })[] {
  const fits: (Arrangement & { readonly plan: Plan })[] = [];
  for (const activations of tiersOf(o.pinned, cut.needs)) {
    for (const [slots, prepareAhead] of layouts(o.pinned, overlaps)) {
      const { plan, tiers } = fill(cut, { slots, prepareAhead, activations }, o);
      met.add(plan, o);
      if (within(plan, o)) fits.push({ slots: plan.options.slots, prepareAhead, activations, tiers, plan });
    }
    // Beside weights that are all resident nothing is gained by moving activations.
    if (fits.some(({ tiers }) => tiers.every((tier) => tier === "device"))) break;
  }
  return fits;
}

/** Where activations may rest, on the device first. */
export function tiersOf(
  { activations }: Pick<Pinned, "activations">,
  needs: Pick<Needs, "probes" | "capacity">,
): readonly ActivationTier[] {
  return activations === undefined ? activationTiers(needs) : [activations];
}

/** Units, and what does not depend on where they rest. */
export class Cut {
  readonly needs: Needs;
  readonly compute: FloatType;
  readonly places: Places;
  /** The order in which those become resident that need not be. */
  readonly order: readonly number[];

  constructor(
    readonly units: readonly Unit[],
    { needs, compute }: Pick<ArrangeOptions, "needs" | "compute">,
  ) {
    this.needs = needs;
    this.compute = compute;
    this.places = placeValues(units, needs.capacity, compute, needs.output);
    this.order = spread(units.length).filter((unit) => !isAdapterUnit(at(units, unit)));
  }
}

/** Slots, and whether units are prepared ahead. */
function layouts(pinned: Pinned, overlaps: boolean): (readonly [number, boolean])[] {
  const slots = pinned.slots === undefined ? SLOTS : [pinned.slots];
  const usual = overlaps ? [true, false] : [false];
  const aheads = pinned.prepareAhead === undefined ? usual : [pinned.prepareAhead];
  return slots.flatMap((count) => aheads.map((ahead) => [count, ahead] as const));
}

interface Filled {
  readonly plan: Plan;
  readonly tiers: readonly Tier[];
}

type FillOptions = Pick<ArrangeOptions, "control" | "pinned" | keyof Budgets>;

/**
 * As many units as have room stay on the device, evenly spread, so that what moves hides behind what does not. The
 * others rest in host memory; where that has no room for them, what is left on disk.
 */
function fill(cut: Cut, layout: Omit<Arrangement, "tiers">, o: FillOptions): Filled {
  const { units } = cut;
  const { tierOf, onDisk } = o.pinned;
  const planOf = (tier: (unit: number) => Tier): Filled => {
    const tiers = units.map((unit) => (isAdapterUnit(unit) ? "device" : tier(unit.index)));
    return { tiers, plan: planFor(cut, { tiers, ...layout }, o.control) };
  };
  if (tierOf !== undefined) return planOf(tierOf);
  const inMemory = fillDevice(cut, planOf, (unit) => (onDisk?.has(unit) === true ? "disk" : "host"), o);
  if (onDisk !== undefined || o.diskMemory === undefined || within(inMemory.plan, o)) return inMemory;
  return fillHost(
    cut,
    planOf,
    fillDevice(cut, planOf, () => "disk", o),
    o,
  );
}

/** @param others where a unit rests that is not on the device; what is on disk stays there where that is pinned. */
function fillDevice(
  { units, order }: Cut,
  planOf: (tier: (unit: number) => Tier) => Filled,
  others: (unit: number) => Tier,
  o: FillOptions,
): Filled {
  const movable = order.filter((unit) => o.pinned.onDisk?.has(unit) !== true);
  const withResident = (resident: ReadonlySet<number>) =>
    planOf((unit) => (resident.has(unit) ? "device" : others(unit)));
  const roomIn = ({ plan }: Filled) =>
    Math.min(
      (o.deviceMemory ?? Number.POSITIVE_INFINITY) - deviceBytes(plan),
      (o.totalMemory ?? Number.POSITIVE_INFINITY) - deviceBytes(plan) - hostBytes(plan),
    );
  if (units.reduce((sum, unit) => sum + unit.wireBytes, 0) <= (o.deviceMemory ?? Number.POSITIVE_INFINITY)) {
    const all = withResident(new Set(movable));
    if (roomIn(all) >= 0) return all;
  }
  let best = withResident(new Set());
  // A resident unit adds its bytes, and may take away from what the largest of those that move needs: whatever that
  // frees is filled in turn. Where the memory is one, what would rest on the host takes as much there.
  const resident = new Set<number>();
  for (let before = -1; resident.size > before; ) {
    before = resident.size;
    let left = roomIn(best);
    for (const index of movable) {
      const bytes = bytesAtRest(at(units, index));
      if (resident.has(index) || bytes > left) continue;
      resident.add(index);
      left -= bytes;
    }
    if (resident.size > before) best = withResident(resident);
  }
  return best;
}

/** Takes from the disk what host memory has room for: first the rows that every batch looks up, then evenly. */
function fillHost(
  { units, order }: Cut,
  planOf: (tier: (unit: number) => Tier) => Filled,
  filled: Filled,
  { hostMemory, totalMemory }: Budgets,
): Filled {
  if (totalMemory !== undefined) return filled;
  let left = (hostMemory ?? Number.POSITIVE_INFINITY) - hostBytes(filled.plan);
  const table = units.find(({ gathered }) => gathered !== null)?.gathered?.parameter;
  const looksUp = (unit: number) => at(units, unit).tensors.some(({ parameter }) => parameter === table);
  const inHost = new Set<number>();
  for (const index of [...order.filter(looksUp), ...order]) {
    const bytes = bytesAtRest(at(units, index));
    if (at(filled.tiers, index) !== "disk" || inHost.has(index) || bytes > left) continue;
    inHost.add(index);
    left -= bytes;
  }
  return planOf((unit) => (inHost.has(unit) ? "host" : at(filled.tiers, unit)));
}

function bytesAtRest({ wireBytes }: Unit): number {
  return align(wireBytes, ARENA_ALIGNMENT);
}

/** An order of which every beginning lies evenly among all: multiples of the golden ratio. */
function spread(count: number): readonly number[] {
  const place = (index: number) => (index * 0.6180339887498949) % 1;
  return Array.from({ length: count }, (_, index) => index).sort((a, b) => place(a) - place(b));
}

function planFor(
  { units, needs, compute, places }: Cut,
  { tiers, slots, prepareAhead, activations }: Arrangement,
  control: ControlLayout,
): Plan {
  const residences = residencesOf(units, (unit) => at(tiers, unit), fixedIn(units));
  return planMemory(units, { ...needs, prepareAhead, activations, control, slots, compute, residences }, places);
}
