import { formatBytes } from "../base/bytes.js";
import { Zo2Error } from "../base/errors.js";
import { COEFFICIENT_BYTES, LOSS_BYTES } from "../contract/constants.js";
import { SEQUENCE_FIELDS, type Output } from "../ops/value.js";
import { Arena, ARENA_ALIGNMENT, type Region } from "./arena.js";
import { cacheLayout, type CacheLayout } from "./cache-layout.js";
import { align, BYTES_OF, type FloatType } from "../base/dtype.js";
import { placeValues, type Capacity, type Places } from "./places.js";
import type { Unit } from "./units.js";

/** At most this many steps are on the device at once (DESIGN section 3). */
export const STEPS_IN_FLIGHT = 2;
/** Step states outlive their step by one visit of every unit; a power of two above STEPS_IN_FLIGHT + 1. */
export const STEP_STATES = 4;

/** The state of a step: the losses of its two probes, then its coefficient. Bytes. */
export const STEP_STATE = {
  losses: 0,
  coefficient: 2 * LOSS_BYTES,
  bytes: 2 * LOSS_BYTES + COEFFICIENT_BYTES,
} as const;

export type Tier = "device" | "host";

/** What the caller decides. */
export interface PlanOptions {
  readonly tier: Tier;
  /** Units of wire bytes on the device at once, when they stream. */
  readonly slots: number;
  /** 2: W+ and W-; 1: W alone (evaluation). */
  readonly branches: 1 | 2;
  readonly capacity: Capacity;
  readonly output: Output;
  /** Rows of the key/value cache and where it rests, when the pass has one. */
  readonly cache: { readonly tier: Tier; readonly rows: number } | null;
  /** Bytes of the device that working arena and resident units may take; absent: no limit but the device's own. */
  readonly deviceMemory?: number;
  /** Dtype of W+, W- and of the activations that only feed the next op. */
  readonly compute: FloatType;
  readonly wire: FloatType;
}

/** The int32 tables of one micro-batch, in the inputs region. Bytes from its start. */
export interface InputLayout {
  readonly tokens: number;
  readonly positions: number;
  readonly sequences: number;
  readonly headRows: number;
  readonly targets: number;
  readonly cacheRows: number;
  readonly objective: number;
  readonly bytes: number;
}

/**
 * What comes with a batch: the tables of each micro-batch, then what all share. Bytes from the start of a staging or
 * inputs region.
 */
export interface BatchLayout {
  readonly microBatch: InputLayout;
  /** int32 row numbers of the gathered table. */
  readonly tableRows: number;
  /** A `zo2_coefficient` that comes from outside. */
  readonly coefficient: number;
  readonly bytes: number;
}

/** Exact bytes of everything that a schedule touches; the device regions lie in one working arena. */
export interface Plan {
  readonly options: PlanOptions;
  readonly units: readonly Unit[];
  readonly places: Places;
  readonly batch: BatchLayout;
  readonly slotBytes: number;
  readonly cache: CacheLayout | null;
  readonly device: {
    readonly slots: readonly Region[];
    /** Pieces of a cache in host memory, while their units are visited. */
    readonly cacheSlots: readonly Region[];
    readonly plus: Region;
    readonly minus: Region;
    /** Wire bytes of the rows gathered for a tied embedding. */
    readonly gathered: Region;
    /** [branch x micro-batch] carried areas. */
    readonly carried: readonly Region[];
    readonly workspace: Region;
    /** [branch x micro-batch] results. */
    readonly results: readonly Region[];
    /** What comes with a batch, for each step in flight. */
    readonly inputs: readonly Region[];
    readonly bytes: number;
  };
  readonly host: {
    /** Twins of the device's inputs regions. */
    readonly staging: readonly Region[];
    /** What comes back from a pass (`READBACK`), for each step in flight. */
    readonly readback: readonly Region[];
    readonly bytes: number;
  };
  /** Wire bytes of the units that rest on the device. */
  readonly residentBytes: number;
}

/**
 * The control buffer on the device, which outlives a plan: the states of the last steps, then the sticky flags. Bytes.
 */
export const CONTROL = {
  states: 0,
  sticky: STEP_STATES * STEP_STATE.bytes,
  bytes: STEP_STATES * STEP_STATE.bytes + 64,
} as const;

/** A readback region: sticky flags, state of the step, then the results area by area. Bytes. */
export const READBACK = { sticky: 0, state: 64, results: 256 } as const;

/** One piece of a cache in host memory is worked with while the next comes and the one before goes. */
const CACHE_SLOTS = 3;

function batchLayout(capacity: Capacity, cached: boolean): BatchLayout {
  const microBatch = inputLayout(capacity, cached);
  const tableRows = microBatch.bytes * capacity.microBatches;
  const coefficient = tableRows + align(capacity.tableRows * 4);
  return { microBatch, tableRows, coefficient, bytes: coefficient + align(COEFFICIENT_BYTES) };
}

function inputLayout(capacity: Capacity, cached: boolean): InputLayout {
  let bytes = 0;
  const take = (words: number): number => {
    const at = bytes;
    bytes += align(words * 4);
    return at;
  };
  const tables = {
    tokens: take(capacity.rows),
    positions: take(capacity.rows),
    sequences: take(capacity.sequences * SEQUENCE_FIELDS),
    headRows: take(capacity.headRows),
    targets: take(capacity.targets * 2),
    cacheRows: take(cached ? capacity.rows : 0),
    objective: take(capacity.objectiveWords),
  };
  return { ...tables, bytes };
}

/**
 * Turns units and a largest batch into a memory plan.
 * @throws Zo2Error ZO2_ERR_MEMORY_BUDGET when it needs more than `deviceMemory`, saying what takes how much and what to
 *   change.
 */
export function planMemory(units: readonly Unit[], options: PlanOptions): Plan {
  const { capacity, branches } = options;
  const streaming = options.tier === "host";
  const places = placeValues(units, capacity, options.compute, options.output);
  const batch = batchLayout(capacity, options.cache !== null);
  const cache = options.cache === null ? null : cacheLayout(units, options.cache.rows, options.compute);
  const cachePieces = options.cache?.tier === "host" ? (cache?.units ?? []).filter((piece) => piece !== null) : [];
  const table = units.find((u) => u.gathered !== null)?.gathered ?? null;
  const tableRow = table === null ? 0 : table.width;
  const gatheredScratch = align(capacity.tableRows * tableRow * BYTES_OF[options.compute]);
  const scratchBytes = Math.max(
    ...units.map((u) => align(u.scratchBytes) + (u.gathered === null ? 0 : gatheredScratch)),
  );
  const slotBytes = Math.max(...units.map((u) => u.wireBytes));

  const device = new Arena();
  const areas = branches * capacity.microBatches;
  const deviceRegions = {
    slots: streaming ? device.takeEach(Math.min(options.slots, units.length), slotBytes) : [],
    cacheSlots: device.takeEach(
      Math.min(CACHE_SLOTS, cachePieces.length),
      Math.max(0, ...cachePieces.map((u) => u.bytes)),
    ),
    plus: device.take(scratchBytes),
    minus: device.take(branches === 2 ? scratchBytes : 0),
    gathered: device.take(capacity.tableRows * tableRow * BYTES_OF[options.wire]),
    carried: device.takeEach(areas, places.carriedBytes),
    workspace: device.take(places.workspaceBytes),
    results: device.takeEach(areas, places.resultBytes),
    inputs: device.takeEach(STEPS_IN_FLIGHT, batch.bytes),
  };

  const host = new Arena();
  const hostRegions = {
    staging: host.takeEach(STEPS_IN_FLIGHT, batch.bytes),
    readback: host.takeEach(STEPS_IN_FLIGHT, READBACK.results + areas * align(places.resultBytes, ARENA_ALIGNMENT)),
  };
  const plan: Plan = {
    options,
    units,
    places,
    batch,
    slotBytes,
    cache,
    device: { ...deviceRegions, bytes: device.bytes },
    host: { ...hostRegions, bytes: host.bytes },
    residentBytes: streaming ? 0 : residentLayout(units).bytes,
  };
  checkBudget(plan);
  return plan;
}

/** Where the wire bytes of each unit lie in the arena of its tier. */
export function residentLayout(units: readonly Unit[]): {
  readonly offsets: readonly number[];
  readonly bytes: number;
} {
  const arena = new Arena();
  const offsets = units.map((u) => arena.take(u.wireBytes).offset);
  return { offsets, bytes: arena.bytes };
}

/** Bytes of a plan's device memory by purpose, largest first. */
export function deviceParts(plan: Plan): { readonly name: string; readonly bytes: number }[] {
  const sum = (regions: readonly Region[]) => regions.reduce((a, r) => a + r.bytes, 0);
  const d = plan.device;
  return [
    { name: "resident weights", bytes: plan.residentBytes },
    { name: `${d.slots.length} slots`, bytes: sum(d.slots) },
    { name: "key/value cache", bytes: deviceCacheBytes(plan) + sum(d.cacheSlots) },
    { name: "W+ and W-", bytes: d.plus.bytes + d.minus.bytes },
    { name: "gathered embedding rows", bytes: d.gathered.bytes },
    { name: "activations between units", bytes: sum(d.carried) },
    { name: "activations within a unit", bytes: d.workspace.bytes },
    { name: "results", bytes: sum(d.results) },
    { name: "batches and losses", bytes: sum(d.inputs) + CONTROL.bytes },
  ]
    .filter((p) => p.bytes > 0)
    .sort((a, b) => b.bytes - a.bytes);
}

/** Device memory that a plan takes in all. */
export function deviceBytes(plan: Plan): number {
  return plan.device.bytes + plan.residentBytes + deviceCacheBytes(plan) + CONTROL.bytes;
}

function deviceCacheBytes({ options, cache }: Plan): number {
  return options.cache?.tier === "device" ? (cache?.bytes ?? 0) : 0;
}

function checkBudget(plan: Plan): void {
  const budget = plan.options.deviceMemory;
  const needed = deviceBytes(plan);
  if (budget === undefined || needed <= budget) return;
  const parts = deviceParts(plan)
    .map((p) => `${p.name} ${formatBytes(p.bytes)}`)
    .join(", ");
  const advice =
    plan.options.tier === "device"
      ? 'stream the weights (option "offload.to" = "host")'
      : 'lower options "offload.unitBytes", "offload.slots", "batchSize", "microBatchSize" or "maxLength"';
  throw new Zo2Error(
    "ZO2_ERR_MEMORY_BUDGET",
    `the plan needs ${formatBytes(needed)} (${needed} bytes) of device memory, ${formatBytes(budget)} is ` +
      `allowed (${parts}); ${advice}, or raise option "offload.deviceMemory"`,
  );
}
