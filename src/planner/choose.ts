/**
 * How a model's weights are cut, where each unit rests, and how many are on the device at once: what takes the least
 * time, by `simulate`, of all that fits in the memory that is allowed.
 */
import { at } from "../base/at.js";
import { formatBytes } from "../base/bytes.js";
import { align, type FloatType } from "../base/dtype.js";
import { Zo2Error } from "../base/errors.js";
import { ARENA_ALIGNMENT } from "../memory/arena.js";
import type { ControlLayout } from "../memory/control.js";
import { type Needs, needsFor } from "../memory/needs.js";
import { type Capacity, type Places, placeValues } from "../memory/places.js";
import { deviceBytes, diskBytes, hostBytes, type Plan, planMemory } from "../memory/plan.js";
import { type Arrangement, residencesOf, type Tier } from "../memory/residence.js";
import { cutUnits, largestLayer, type Unit, type UnitOptions } from "../memory/units.js";
import type { Probe } from "../method/index.js";
import type { Recording } from "../ops/record.js";
import type { Output } from "../ops/value.js";
import type { Hardware } from "../simulate/hardware.js";
import { type SimulatedStep, simulateStep, type SimulateOptions } from "../simulate/simulate.js";

/** Memory that may be in use, in bytes; absent: no limit. */
export interface Budgets {
  readonly deviceMemory?: number | undefined;
  readonly hostMemory?: number | undefined;
  /** Of both together, where the device's memory is the host's. */
  readonly totalMemory?: number | undefined;
  /** Of a file that weights may rest in; absent: there is none. */
  readonly diskMemory?: number | undefined;
}

/** What the caller has decided already; absent: to be chosen. */
export interface Pinned {
  readonly unitBytes?: number | undefined;
  readonly slots?: number | undefined;
  readonly prepareAhead?: boolean | undefined;
  /** Where each unit rests. */
  readonly tierOf?: ((unit: number) => Tier) | undefined;
  /** Units that rest on disk, and stay there; no other does then. */
  readonly onDisk?: ReadonlySet<number> | undefined;
}

export interface ChoiceOptions extends Budgets, Pick<UnitOptions, "wire" | "wires"> {
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

/** Three let an upload, a computation and an offload overlap; with two, what goes makes room for what comes. */
const SLOTS = [3, 2];
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
    // Where all is resident nothing is gained by cutting it smaller, nor where the last sizes were slower.
    if (isResident(best) || worse === PATIENCE) break;
  }
  if (best !== null) return best;
  throw nothingFits(met, o);
}

/**
 * The first that fits, for hardware of which nothing is known: the largest units, the most slots.
 * @throws Zo2Error ZO2_ERR_MEMORY_BUDGET where nothing fits, with the least that would
 */
export function firstThatFits(recording: Recording, o: RoomOptions): Fit {
  const met = new Met();
  for (const [first] of fitsOf(recording, o, o.overlap, met)) if (first !== undefined) return first;
  throw nothingFits(met, o);
}

/** What another pass needs of a model that is cut already. */
export interface ArrangeOptions extends Budgets {
  readonly pinned: Omit<Pinned, "unitBytes">;
  readonly needs: Needs;
  readonly control: ControlLayout;
  readonly compute: FloatType;
  readonly overlap: boolean;
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

/** What was looked at, whether it fits or not. */
class Met {
  /** The one of the least device memory. */
  device: Plan | null = null;
  /** Of those that fit in the device, the one of the least host memory. */
  host: Plan | null = null;

  add(plan: Plan, budgets: Budgets): void {
    if (this.device === null || deviceBytes(plan) < deviceBytes(this.device)) this.device = plan;
    if (!within(plan, { deviceMemory: budgets.deviceMemory })) return;
    if (this.host === null || hostTaken(plan, budgets) < hostTaken(this.host, budgets)) this.host = plan;
  }
}

/** By unit size, largest first, what fits: the most slots, and prepared ahead, first. */
function* fitsOf(recording: Recording, o: RoomOptions, overlaps: boolean, met: Met): Generator<readonly Fit[]> {
  const { wire, wires, compute, capacity, probes, output } = o;
  for (const unitBytes of unitSizes(recording, o)) {
    const units = cutUnits(recording, { wire, wires, compute, unitBytes });
    const cut = new Cut(units, { compute, needs: needsFor(units, capacity, probes, output) });
    yield fitting(cut, o, overlaps, met).map((filled) => ({ ...filled, unitBytes, units }));
  }
}

/** Of one cut. */
function fitting(
  cut: Cut,
  o: Omit<ArrangeOptions, "needs" | "compute" | "overlap">,
  overlaps: boolean,
  met: Met,
): readonly (Arrangement & { readonly plan: Plan })[] {
  const filled = layouts(o.pinned, overlaps).map(([slots, prepareAhead]) => fill(cut, slots, prepareAhead, o));
  for (const { plan } of filled) met.add(plan, o);
  return filled
    .filter(({ plan }) => within(plan, o))
    .map(({ plan, tiers }) => {
      const { slots, prepareAhead } = plan.options;
      return { slots, prepareAhead, tiers, plan };
    });
}

/** Units, and what does not depend on where they rest. */
class Cut {
  readonly needs: Needs;
  readonly compute: FloatType;
  readonly places: Places;
  /** The order in which they become resident. */
  readonly order: readonly number[];

  constructor(
    readonly units: readonly Unit[],
    { needs, compute }: Pick<ArrangeOptions, "needs" | "compute">,
  ) {
    this.needs = needs;
    this.compute = compute;
    this.places = placeValues(units, needs.capacity, compute, needs.output);
    this.order = spread(units.length);
  }
}

/** Slots, and whether units are prepared ahead. */
function layouts(pinned: Pinned, overlaps: boolean): (readonly [number, boolean])[] {
  const slots = pinned.slots === undefined ? SLOTS : [pinned.slots];
  const usual = overlaps ? [true, false] : [false];
  const aheads = pinned.prepareAhead === undefined ? usual : [pinned.prepareAhead];
  return slots.flatMap((count) => aheads.map((ahead) => [count, ahead] as const));
}

function isResident(choice: Choice | null): boolean {
  return choice?.tiers.every((tier) => tier === "device") === true;
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

interface Filled {
  readonly plan: Plan;
  readonly tiers: readonly Tier[];
}

type FillOptions = Pick<ArrangeOptions, "control" | "pinned" | keyof Budgets>;

/**
 * As many units as have room stay on the device, evenly spread, so that what moves hides behind what does not. The
 * others rest in host memory; where that has no room for them, what is left on disk.
 */
function fill(cut: Cut, slots: number, prepareAhead: boolean, o: FillOptions): Filled {
  const { units } = cut;
  const { tierOf, onDisk } = o.pinned;
  const planOf = (tier: (unit: number) => Tier): Filled => {
    const tiers = units.map(({ index }) => tier(index));
    return { tiers, plan: planFor(cut, { tiers, slots, prepareAhead }, o.control) };
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
  { tiers, slots, prepareAhead }: Arrangement,
  control: ControlLayout,
): Plan {
  const residences = residencesOf(units, (unit) => at(tiers, unit), new Set());
  return planMemory(units, { ...needs, prepareAhead, control, slots, compute, residences }, places);
}

function within(plan: Plan, budgets: Budgets): boolean {
  const { deviceMemory, hostMemory, totalMemory, diskMemory } = budgets;
  const most = (bytes: number | undefined) => bytes ?? Number.POSITIVE_INFINITY;
  return (
    deviceBytes(plan) <= most(deviceMemory) &&
    hostBytes(plan) <= most(hostMemory) &&
    deviceBytes(plan) + hostBytes(plan) <= most(totalMemory) &&
    diskBytes(plan) <= most(diskMemory)
  );
}

/** Of what `hostMemory`, or `totalMemory`, allows. */
function hostTaken(plan: Plan, { totalMemory }: Budgets): number {
  return hostBytes(plan) + (totalMemory === undefined ? 0 : deviceBytes(plan));
}

function nothingFits({ device, host }: Met, budgets: Budgets & { readonly pinned: Pinned }): Zo2Error {
  const { deviceMemory, hostMemory, totalMemory, diskMemory, pinned } = budgets;
  const lacking: Tier = host === null ? "device" : "host";
  const beside = totalMemory === undefined ? "beside that of the device" : "in all";
  const [needed, allowed, raised] =
    host === null
      ? [`${device === null ? "?" : formatBytes(deviceBytes(device))} of device memory`, deviceMemory, "deviceMemory"]
      : [`${formatBytes(hostTaken(host, budgets))} of host memory ${beside}`, totalMemory ?? hostMemory, "hostMemory"];
  const advice = [
    ...(pinned.unitBytes === undefined ? [] : ['lower option "offload.unitBytes", or leave it to be chosen']),
    ...(pinned.tierOf?.(0) !== lacking ? [] : [`leave out option "offload.to" = "${lacking}"`]),
    ...(host === null ? ['lower options "batchSize", "microBatchSize" or "maxLength"'] : []),
    'choose a narrower dtype as option "offload.wire"',
    ...(host === null || deviceMemory === undefined ? [] : ['raise option "offload.deviceMemory"']),
    ...(host !== null
      ? [
          diskMemory === undefined
            ? 'name a folder on a disk as option "offload.diskPath"'
            : 'raise option "offload.diskMemory"',
        ]
      : []),
  ];
  return new Zo2Error(
    "ZO2_ERR_MEMORY_BUDGET",
    `the least that a plan needs is ${needed}, and ${formatBytes(allowed ?? 0)} is allowed; ${advice.join(", ")}, or ` +
      `raise option "offload.${raised}"`,
  );
}
