/** The time of a training's steps, from the commands that they are made of and what hardware does in a second. */
import { at } from "../base/at.js";
import type { Plan } from "../memory/plan.js";
import { schedulePlan } from "../memory/schedule-plan.js";
import type { Probe } from "../method/index.js";
import type { Inputs } from "../ops/value.js";
import { type Lane, LANE_NUMBER, LANES, type Work } from "../schedule/command.js";
import type { Pass } from "../schedule/facts.js";
import { emitPass } from "../schedule/pass.js";
import type { Resource } from "../schedule/resource.js";
import { type Amounts, amountsOf, type PassSizes, type Symbols } from "./amounts.js";
import type { Hardware } from "./hardware.js";

/** A command where it would run. Seconds from the beginning of the step. */
export interface SimulatedSpan extends Amounts {
  readonly lane: Lane;
  readonly what: Work["kind"];
  readonly unit?: number;
  readonly begin: number;
  readonly end: number;
}

export interface SimulatedStep {
  readonly seconds: number;
  /** Of each lane, the seconds that it works. */
  readonly busy: Readonly<Record<Lane, number>>;
  /** Empty where nobody asked for them. */
  readonly spans: readonly SimulatedSpan[];
}

export interface SimulateOptions {
  readonly probes: readonly Probe[];
  readonly noise: "gaussian" | "rademacher";
  readonly microBatches: number;
  /** Rows of a micro-batch. */
  readonly symbols: Symbols;
  readonly overlap: boolean;
  /** Seconds: a step in which a lane alone works longer need not be known better, and has that lane's time. */
  readonly enough?: number | undefined;
  /** Whether the commands of the step are wanted one by one. @default false */
  readonly spans?: boolean;
}

/** Steps before the one that is looked at: what a step waits for of the one before is there then. */
const WARM = 2;

/** Sums of the same times in another order. */
const ROUNDING = 1e-9;

/**
 * A command begins when its lane is free and what it touches has been left by those before it. `Timeline` puts a wait
 * exactly where that is not known already, so these are the times of what is submitted.
 * @param inputs of the recording that the plan is of.
 */
export function simulateStep(plan: Plan, inputs: Inputs, hardware: Hardware, o: SimulateOptions): SimulatedStep {
  const schedule = schedulePlan(plan, new Set(), false);
  const overlap = o.overlap && hardware.overlaps;
  const states = plan.options.control.states.length;
  const sizes: PassSizes = { pending: 1, symbolsOf: () => o.symbols };
  /** By unit, since a visit's cost is asked for once a probe and micro-batch. */
  const runs = new Map<number, Amounts>();
  const amounts = (work: Work): Amounts => {
    if (work.kind !== "run") return amountsOf(plan, inputs, work, sizes);
    const known = runs.get(work.unit) ?? amountsOf(plan, inputs, work, sizes);
    runs.set(work.unit, known);
    return known;
  };
  const free = new Float64Array(LANES.length);
  const busy = new Float64Array(LANES.length);
  const touched = new Touches();
  const spans: SimulatedSpan[] = [];
  let before = 0;
  let ended = 0;
  for (let step = 0; step <= WARM; step++) {
    const pass: Pass = {
      ...{ probes: o.probes, microBatches: o.microBatches, pending: [(step + states - 1) % states], stores: true },
      ...{ yields: "coefficients", injects: false, state: step % states, ring: step % 2, cache: null },
    };
    before = ended;
    busy.fill(0);
    emitPass(schedule, pass, (named, work, reads, writes) => {
      const lane = overlap ? LANE_NUMBER[named] : LANE_NUMBER.compute;
      const about = amounts(work);
      const begin = Math.max(at(free, lane), touched.before(reads, writes));
      const seconds = secondsOf(named, about, plan, hardware, o.noise);
      const end = begin + seconds;
      free[lane] = end;
      busy[lane] = at(busy, lane) + seconds;
      touched.note(reads, writes, end);
      if (step === WARM && o.spans === true)
        spans.push({ lane: at(LANES, lane), ...spanOf(work), ...about, begin: begin - before, end: end - before });
    });
    ended = at(free, LANE_NUMBER.compute);
    const least = Math.max(...busy);
    if (o.enough !== undefined && least > o.enough * (1 + ROUNDING)) {
      [before, ended] = [0, least];
      break;
    }
  }
  const byLane = Object.fromEntries(LANES.map((lane, l) => [lane, at(busy, l)])) as Record<Lane, number>;
  return { seconds: ended - before, busy: byLane, spans };
}

/** By resource, when those that wrote and read it last have ended. */
class Touches {
  private written = new Float64Array(1024);
  private read = new Float64Array(1024);

  /** When all has ended that a command has to come after. */
  before(reads: readonly Resource[], writes: readonly Resource[]): number {
    let latest = 0;
    for (const resource of reads) latest = Math.max(latest, this.written[resource] ?? 0);
    for (const resource of writes) latest = Math.max(latest, this.written[resource] ?? 0, this.read[resource] ?? 0);
    return latest;
  }

  note(reads: readonly Resource[], writes: readonly Resource[], end: number): void {
    for (const resource of writes) {
      this.reach(resource);
      this.written[resource] = end;
    }
    for (const resource of reads) {
      this.reach(resource);
      this.read[resource] = Math.max(at(this.read, resource), end);
    }
  }

  private reach(resource: Resource): void {
    if (resource < this.written.length) return;
    const longer = (values: Float64Array) => {
      const grown = new Float64Array(2 * resource);
      grown.set(values);
      return grown;
    };
    this.written = longer(this.written);
    this.read = longer(this.read);
  }
}

function spanOf(work: Work): Pick<SimulatedSpan, "what" | "unit"> {
  return { what: work.kind, ...("unit" in work ? { unit: work.unit } : {}) };
}

function secondsOf(
  lane: Lane,
  { bytes = 0, diskBytes = 0, deviceBytes = 0, flops = 0, attentionFlops = 0, draws = 0 }: Amounts,
  plan: Plan,
  hardware: Hardware,
  noise: SimulateOptions["noise"],
): number {
  const { compute } = plan.options;
  const link = bytes / (lane === "offload" ? hardware.offload : hardware.upload);
  const disk = diskBytes / (lane === "write" ? hardware.disk.write : hardware.disk.read);
  const products = flops / hardware.flops[compute] + attentionFlops / hardware.attention[compute];
  return (
    hardware.command + link + disk + Math.max(deviceBytes / hardware.memory, products, draws / hardware.noise[noise])
  );
}

/** The lane that works longest. */
export function busiestLane({ busy }: SimulatedStep): Lane {
  return at(
    [...LANES].sort((a, b) => busy[b] - busy[a]),
    0,
  );
}
