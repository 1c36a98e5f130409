import { at } from "../base/at.js";
import { formatBytes } from "../base/bytes.js";
import { align, type FloatType, storedBytes, type WireType } from "../base/dtype.js";
import { Zo2Error } from "../base/errors.js";
import type { Output } from "../ops/value.js";
import { Arena, ARENA_ALIGNMENT, type Region, within } from "./arena.js";
import { type BatchLayout, batchLayout, type BatchRegions, batchRegions } from "./batch-layout.js";
import { type CacheLayout, cacheLayout } from "./cache-layout.js";
import { type ControlLayout, STEPS_IN_FLIGHT } from "./control.js";
import { placeValues, type Capacity, type Places } from "./places.js";
import type { ActivationTier, Residence, Tier } from "./residence.js";
import { type HostSlots, hostSlotsOf } from "./host-slots.js";
import { type RestLayout, restLayout } from "./rest.js";
import { isDirect, type Unit } from "./units.js";

/** Where a key/value cache rests: with every token all of it is read. */
export type CacheTier = Exclude<Tier, "disk">;

/** What the caller decides. */
export interface PlanOptions {
  /** By unit. */
  readonly residences: readonly Residence[];
  /** Units of wire bytes on the device at once, of those that move. */
  readonly slots: number;
  /** Forward passes over the weights in one pass of units. */
  readonly probes: number;
  /** Of these, how many weights are perturbed at once: the sides of one direction, or 1 where none is. */
  readonly sides: number;
  /** Whether one unit is prepared while another runs, which takes scratch for both. */
  readonly prepareAhead: boolean;
  /** Where activations rest between units: what a unit needs of those in host memory passes through slots. */
  readonly activations: ActivationTier;
  readonly capacity: Capacity;
  readonly output: Output;
  /** Rows of the key/value cache and where it rests, when the pass has one. */
  readonly cache: { readonly tier: CacheTier; readonly rows: number } | null;
  /** Of the control buffer, which outlives the plan. */
  readonly control: ControlLayout;
  /** Bytes of the device that working arena and resident units may take; absent: no limit but the device's own. */
  readonly deviceMemory?: number | undefined;
  /** Bytes of host memory that staging and units at rest there may take; absent: no limit. */
  readonly hostMemory?: number | undefined;
  /** Bytes of device and host memory together, where the device's is the host's; absent: no limit. */
  readonly totalMemory?: number | undefined;
  /** Dtype of the perturbed weights and of the activations that only feed the next op. */
  readonly compute: FloatType;
}

/** Activations between units at rest. */
export interface Activations {
  readonly tier: ActivationTier;
  readonly bytes: number;
}

/** What comes back from a pass. */
export interface ReadbackRegions {
  readonly whole: Region;
  readonly sticky: Region;
  readonly losses: Region;
  readonly coefficients: Region;
  /** [probe x micro-batch] */
  readonly results: readonly Region[];
}

/**
 * Exact bytes of everything that a schedule touches, and the only owner of offsets: the device regions lie in one
 * working arena, the host regions in another.
 */
export interface Plan {
  readonly options: PlanOptions;
  readonly units: readonly Unit[];
  readonly places: Places;
  readonly batch: BatchLayout;
  readonly cache: CacheLayout | null;
  readonly rest: RestLayout;
  /** The slot of each unit that moves; null for one that rests on the device. */
  readonly slotOf: readonly (number | null)[];
  /** The host slots that each unit on disk passes through; null for one that rests elsewhere. */
  readonly stagingOf: HostSlots["of"];
  readonly device: {
    readonly slots: readonly Region[];
    /** Pieces of a cache in host memory, while their units are visited. */
    readonly cacheSlots: readonly Region[];
    /** [sets x sides]: the perturbed weights of a unit, W+ and W-, and of the next where it is prepared ahead. */
    readonly scratch: readonly Region[];
    /** Wire bytes of the rows gathered for a tied embedding. */
    readonly gathered: Region;
    /** [probe x micro-batch] carried areas; none where they rest in host memory. */
    readonly carried: readonly Region[];
    /** Of areas in host memory, those that are worked with. */
    readonly carriedSlots: readonly Region[];
    readonly workspace: Region;
    /** [probe x micro-batch] results. */
    readonly results: readonly Region[];
    /** What comes with a batch, for each step in flight. */
    readonly inputs: readonly BatchRegions[];
    readonly bytes: number;
  };
  readonly host: {
    /** Between file and device, each as large as the largest unit on disk; a unit's own are `stagingOf`. */
    readonly slots: readonly Region[];
    /** Wire bytes of the rows gathered for a tied embedding, of those units that rest on disk. */
    readonly gathered: Region;
    /** [probe x micro-batch] carried areas; none where they rest on the device. */
    readonly carried: readonly Region[];
    /** Twins of the device's inputs regions. */
    readonly staging: readonly BatchRegions[];
    /** For each step in flight. */
    readonly readback: readonly ReadbackRegions[];
    readonly bytes: number;
  };
}

/** One piece of a cache in host memory is worked with while the next comes and the one before goes. */
const CACHE_SLOTS = 3;

/** The same of carried areas. */
export const CARRIED_SLOTS = 3;

/**
 * Turns units and a largest batch into a memory plan.
 * @param places of the values, which do not depend on where units rest; for whoever has them already.
 * @throws Zo2Error ZO2_ERR_MEMORY_BUDGET when it needs more than `deviceMemory` or `hostMemory`, saying what takes how
 *   much and what to change.
 */
export function planMemory(
  units: readonly Unit[],
  options: PlanOptions,
  places: Places = placeValues(units, options.capacity, options.compute, options.output),
): Plan {
  const { capacity, residences } = options;
  const batch = batchLayout(capacity, { cached: options.cache !== null, control: options.control });
  const cache = options.cache === null ? null : cacheLayout(units, options.cache.rows, options.compute);
  const cachePieces = options.cache?.tier === "host" ? (cache?.units ?? []).filter((piece) => piece !== null) : [];
  const moving = units.filter(({ index }) => at(residences, index).moves);
  const slots = Math.min(options.slots, moving.length);
  const slotBytes = Math.max(0, ...moving.map((u) => u.wireBytes));
  const scratchBytes = Math.max(...units.map((u) => scratchBytesOf(u, options)));
  const tableBytes = Math.max(0, ...units.map((u) => gatheredBytes(u, capacity, u.gathered?.wire)));

  const device = new Arena();
  const areas = areasOf(options);
  const inHost = options.activations === "host" ? areas : 0;
  const deviceRegions = {
    slots: device.takeEach(slots, slotBytes),
    cacheSlots: device.takeEach(
      Math.min(CACHE_SLOTS, cachePieces.length),
      Math.max(0, ...cachePieces.map((u) => u.bytes)),
    ),
    scratch: device.takeEach(scratchSets(options) * options.sides, scratchBytes),
    gathered: device.take(tableBytes),
    carried: device.takeEach(areas - inHost, places.carriedBytes),
    carriedSlots: device.takeEach(Math.min(CARRIED_SLOTS, inHost), places.carriedBytes),
    workspace: device.take(places.workspaceBytes),
    results: device.takeEach(areas, places.resultBytes),
    inputs: device.takeEach(STEPS_IN_FLIGHT, batch.bytes).map((region) => batchRegions(batch, region)),
  };

  const host = new Arena();
  const hostSlots = hostSlotsOf(units, residences);
  const tableOnDisk = units.some((unit) => at(residences, unit.index).rest === "disk" && holdsTable(units, unit));
  const hostRegions = {
    // First, and of whole blocks each: all begin where an arena may, which is at a page.
    slots: host.takeEach(hostSlots.count, hostSlots.bytes),
    gathered: host.take(tableOnDisk ? tableBytes : 0),
    carried: host.takeEach(inHost, places.carriedBytes),
    staging: host.takeEach(STEPS_IN_FLIGHT, batch.bytes).map((region) => batchRegions(batch, region)),
    readback: Array.from({ length: STEPS_IN_FLIGHT }, () => readbackRegions(host, options, areas, places.resultBytes)),
  };
  let moved = 0;
  const plan: Plan = {
    options,
    units,
    places,
    batch,
    cache,
    rest: restLayout(units, residences),
    slotOf: units.map(({ index }) => (at(residences, index).moves ? moved++ % slots : null)),
    stagingOf: hostSlots.of,
    device: { ...deviceRegions, bytes: device.bytes },
    host: { ...hostRegions, bytes: host.bytes },
  };
  checkBudgets(plan);
  return plan;
}

/** Whether a unit has rows of the table that another gathers from. */
export function holdsTable(units: readonly Unit[], { tensors }: Unit): boolean {
  const table = units.find(({ gathered }) => gathered !== null)?.gathered?.parameter;
  return table !== undefined && tensors.some(({ parameter }) => parameter === table);
}

/** Carried areas, one for each probe and micro-batch. */
export function areasOf({ probes, capacity }: Pick<PlanOptions, "probes" | "capacity">): number {
  return probes * capacity.microBatches;
}

/** Where activations may rest, what is fastest first: only many take less of the device in host memory. */
export function activationTiers(options: Pick<PlanOptions, "probes" | "capacity">): readonly ActivationTier[] {
  return areasOf(options) > CARRIED_SLOTS ? ["device", "host"] : ["device"];
}

/** Each holds the perturbed weights of one unit. */
export function scratchSets({ prepareAhead }: Pick<PlanOptions, "prepareAhead">): number {
  return prepareAhead ? 2 : 1;
}

/** @param type of the values; absent where the unit gathers none */
function gatheredBytes({ gathered }: Unit, { tableRows }: Capacity, type: WireType | undefined): number {
  return gathered === null || type === undefined ? 0 : storedBytes(type, tableRows, gathered.width);
}

/**
 * Bytes of one unit's perturbed weights, none where it is read as it rests; the gathered rows of a table lie behind
 * them.
 */
function scratchBytesOf(unit: Unit, { capacity, compute, residences }: PlanOptions): number {
  const own = isDirect(unit) && !at(residences, unit.index).changes ? 0 : unit.scratchBytes;
  return align(own) + align(gatheredBytes(unit, capacity, compute));
}

function readbackRegions(host: Arena, options: PlanOptions, areas: number, resultBytes: number): ReadbackRegions {
  const { sticky, states } = options.control;
  const { losses, coefficients } = at(states, 0);
  const head = align(sticky.bytes) + align(losses.bytes) + align(coefficients.bytes);
  const results = align(head, ARENA_ALIGNMENT);
  const stride = align(resultBytes, ARENA_ALIGNMENT);
  const whole = host.take(results + areas * stride);
  let taken = 0;
  const take = ({ bytes }: Region): Region => {
    const region = within(whole, taken, bytes);
    taken += align(bytes);
    return region;
  };
  return {
    whole,
    sticky: take(sticky),
    losses: take(losses),
    coefficients: take(coefficients),
    results: Array.from({ length: areas }, (_, area) => within(whole, results + area * stride, resultBytes)),
  };
}

/** Bytes of a plan's device memory by purpose, largest first. */
export function deviceParts(plan: Plan): { readonly name: string; readonly bytes: number }[] {
  const sum = (regions: readonly Region[]) => regions.reduce((a, r) => a + r.bytes, 0);
  const d = plan.device;
  const perturbed = plan.options.sides === 2 ? "W+ and W-" : "perturbed weights";
  return [
    { name: "resident weights", bytes: plan.rest.bytes.device },
    { name: `${d.slots.length} slots`, bytes: sum(d.slots) },
    { name: "key/value cache", bytes: cacheBytes(plan, "device") + sum(d.cacheSlots) },
    { name: `${perturbed}${plan.options.prepareAhead ? " of two units" : ""}`, bytes: sum(d.scratch) },
    { name: "gathered embedding rows", bytes: d.gathered.bytes },
    { name: "activations between units", bytes: sum([...d.carried, ...d.carriedSlots]) },
    { name: "activations within a unit", bytes: d.workspace.bytes },
    { name: "results", bytes: sum(d.results) },
    { name: "batches and losses", bytes: sum(d.inputs.map(({ whole }) => whole)) + plan.options.control.bytes },
  ]
    .filter((p) => p.bytes > 0)
    .sort((a, b) => b.bytes - a.bytes);
}

/** Device memory that a plan takes in all. */
export function deviceBytes(plan: Plan): number {
  return plan.device.bytes + plan.rest.bytes.device + cacheBytes(plan, "device") + plan.options.control.bytes;
}

/** Host memory that a plan takes in all: weights at rest, a key/value cache that rests there, and staging. */
export function hostBytes(plan: Plan): number {
  return stagingBytes(plan) + plan.rest.bytes.host + cacheBytes(plan, "host");
}

/** Where the activations between units rest, and the bytes that they take there. */
export function activationsOf({ options, device, host }: Plan): Activations {
  const areas = options.activations === "host" ? host.carried : device.carried;
  return { tier: options.activations, bytes: areas.reduce((sum, { bytes }) => sum + bytes, 0) };
}

/** Twins of what the device has in its working arena and in its control buffer. */
function stagingBytes({ host, options }: Plan): number {
  return host.bytes + options.control.bytes;
}

/** What a plan takes of a disk: scratch files, of what is written there. */
export function diskBytes(plan: Plan): number {
  return plan.rest.bytes.disk;
}

function cacheBytes({ options, cache }: Plan, tier: CacheTier): number {
  return options.cache?.tier === tier ? (cache?.bytes ?? 0) : 0;
}

function checkBudgets(plan: Plan): void {
  checkDeviceBudget(plan);
  checkHostBudget(plan, plan.options.hostMemory, hostBytes(plan));
  checkHostBudget(plan, plan.options.totalMemory, hostBytes(plan) + deviceBytes(plan));
}

function checkHostBudget(plan: Plan, budget: number | undefined, needed: number): void {
  if (budget === undefined || needed <= budget) return;
  const { tier, bytes } = activationsOf(plan);
  const activations = tier === "host" ? bytes : 0;
  const parts = [
    `weights at rest ${formatBytes(plan.rest.bytes.host)}`,
    ...(activations > 0 ? [`activations between units ${formatBytes(activations)}`] : []),
    ...(cacheBytes(plan, "host") > 0 ? [`key/value cache ${formatBytes(cacheBytes(plan, "host"))}`] : []),
    `staging ${formatBytes(stagingBytes(plan) - activations)}`,
  ];
  const less = activations > 0 ? 'set option "offload.activations" = "device", ' : "";
  throw new Zo2Error(
    "ZO2_ERR_MEMORY_BUDGET",
    `the plan needs ${formatBytes(needed)} (${needed} bytes) of host memory, ${formatBytes(budget)} is allowed ` +
      `(${parts.join(", ")}); ${less}keep more on the device (option "offload.to"), choose a narrower dtype as ` +
      'option "offload.wire", or raise option "offload.hostMemory"',
  );
}

function checkDeviceBudget(plan: Plan): void {
  const budget = plan.options.deviceMemory;
  const needed = deviceBytes(plan);
  if (budget === undefined || needed <= budget) return;
  const parts = deviceParts(plan)
    .map((p) => `${p.name} ${formatBytes(p.bytes)}`)
    .join(", ");
  const { prepareAhead, activations } = plan.options;
  const less = [
    ...(prepareAhead ? ['set option "offload.prepareAhead" = "off", '] : []),
    ...(activations === "device" && areasOf(plan.options) > CARRIED_SLOTS
      ? ['set option "offload.activations" = "host", ']
      : []),
  ].join("");
  const advice =
    plan.device.slots.length === 0
      ? 'stream the weights (option "offload.to" = "host")'
      : 'lower options "offload.unitBytes", "offload.slots", "batchSize", "microBatchSize" or "maxLength"';
  throw new Zo2Error(
    "ZO2_ERR_MEMORY_BUDGET",
    `the plan needs ${formatBytes(needed)} (${needed} bytes) of device memory, ${formatBytes(budget)} is ` +
      `allowed (${parts}); ${less}${advice}, or raise option "offload.deviceMemory"`,
  );
}
