/** The time of a training's steps, from the commands that they are made of and what hardware does in a second. */
import { at } from "../base/at.js";
import type { Plan } from "../memory/plan.js";
import { schedulePlan } from "../memory/schedule-plan.js";
import { fixedIn } from "../memory/units.js";
import { directionsOf, type DrawnNoise, type Probe } from "../method/index.js";
import type { Inputs } from "../ops/value.js";
import { type Lane, LANE_NUMBER, LANES, type Work } from "../schedule/command.js";
import type { Pass } from "../schedule/facts.js";
import { emitPass } from "../schedule/pass.js";
import type { Resource } from "../schedule/resource.js";
import type { Amounts, Symbols } from "./amounts.js";
import { type Cause, causesOf, type Touching } from "./causes.js";
import { type Cost, Costs } from "./costs.js";
import type { Hardware } from "./hardware.js";
import { runShared } from "./shared.js";

/** A command where it would run. Seconds from the beginning of the step. */
export interface SimulatedSpan extends Amounts {
  readonly lane: Lane;
  readonly what: Work["kind"];
  readonly unit?: number;
  readonly begin: number;
  readonly end: number;
  /** What it waited for when its lane was free already; null: it did not wait. */
  readonly cause: Cause | null;
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
  readonly noise: DrawnNoise;
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
 * exactly where that is not known already, so these are the times of what is submitted. Where lanes share cores,
 * commands that run at once slow each other down.
 * @param inputs of the recording that the plan is of.
 */
export function simulateStep(plan: Plan, inputs: Inputs, hardware: Hardware, o: SimulateOptions): SimulatedStep {
  const costs = new Costs(plan, inputs, hardware, o.noise, {
    // Behind a forward pass alone as behind a step along one direction.
    pending: Math.max(1, directionsOf(o.probes)),
    symbolsOf: () => o.symbols,
  });
  const emitStep = stepEmitter(plan, costs, o);
  if (o.overlap && !hardware.overlaps) return shared(emitStep, hardware.threads, o.spans === true);
  const free = new Float64Array(LANES.length);
  const busy = new Float64Array(LANES.length);
  const touched = new Touches();
  const timed: (StepCommand & { readonly begin: number; readonly end: number })[] = [];
  let [before, ended] = [0, 0];
  for (let step = 0; step <= WARM; step++) {
    before = ended;
    busy.fill(0);
    emitStep(step, (command) => {
      const number = LANE_NUMBER[command.lane];
      const begin = Math.max(at(free, number), touched.before(command.reads, command.writes));
      const { seconds } = command.cost;
      const end = begin + seconds;
      free[number] = end;
      busy[number] = at(busy, number) + seconds;
      touched.note(command.reads, command.writes, end);
      if (o.spans === true) timed.push({ ...command, begin, end });
    });
    ended = at(free, LANE_NUMBER.compute);
    const least = Math.max(...busy);
    if (o.enough !== undefined && least > o.enough * (1 + ROUNDING)) {
      [before, ended] = [0, least];
      break;
    }
  }
  const spans = spansOf(timed, before);
  const byLane = Object.fromEntries(LANES.map((lane, l) => [lane, at(busy, l)])) as Record<Lane, number>;
  return { seconds: ended - before, busy: byLane, spans };
}

/** A command of one of the steps, in the order in which they are submitted. */
interface StepCommand extends Touching {
  readonly step: number;
  readonly work: Work;
  readonly cost: Cost;
}

type EmitStep = (step: number, emit: (command: StepCommand) => void) => void;

function stepEmitter(plan: Plan, costs: Costs, o: SimulateOptions): EmitStep {
  const schedule = schedulePlan(plan, fixedIn(plan.units), false);
  const states = plan.options.control.states.length;
  return (step, emit) => {
    const pass: Pass = {
      ...{ probes: o.probes, microBatches: o.microBatches, pending: [(step + states - 1) % states], stores: true },
      ...{ yields: "coefficients", injects: false, state: step % states, ring: step % 2, cache: null },
    };
    emitPass(schedule, pass, (named, work, reads, writes) => {
      const cost = costs.of(named, work);
      emit({ step, lane: o.overlap ? named : "compute", work, reads, writes, cost });
    });
  };
}

/** Lanes that share the cores of a CPU. */
function shared(emitStep: EmitStep, threads: number, wanted: boolean): SimulatedStep {
  const commands: StepCommand[] = [];
  for (let step = 0; step <= WARM; step++) emitStep(step, (command) => commands.push(command));
  const moves = (lane: Lane) => lane !== "prepare" && lane !== "compute";
  const times = runShared(
    commands.map((command) => ({
      ...command,
      seconds: command.cost.seconds,
      threads: moves(command.lane) ? 1 : threads,
    })),
    threads,
  );
  const timed = commands.map((command, i) => ({ ...command, ...at(times, i) }));
  const endOf = (step: number) =>
    timed.reduce((end, c) => (c.step === step && c.lane === "compute" ? Math.max(end, c.end) : end), 0);
  const [before, ended] = [endOf(WARM - 1), endOf(WARM)];
  const busy = Object.fromEntries(LANES.map((lane) => [lane, 0])) as Record<Lane, number>;
  for (const { step, lane, begin, end } of timed) if (step === WARM) busy[lane] += end - begin;
  return { seconds: ended - before, busy, spans: wanted ? spansOf(timed, before) : [] };
}

/** Of the last step, from the end of the one before it. */
function spansOf(
  commands: readonly (StepCommand & { readonly begin: number; readonly end: number })[],
  origin: number,
): readonly SimulatedSpan[] {
  const causes = causesOf(commands);
  return commands.flatMap(({ step, lane, work, begin, end, cost }, i) => {
    if (step !== WARM) return [];
    const { seconds: _, ...amounts } = cost;
    return [{ lane, ...placeOf(work), ...amounts, begin: begin - origin, end: end - origin, cause: at(causes, i) }];
  });
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

function placeOf(work: Work): Pick<SimulatedSpan, "what" | "unit"> {
  return { what: work.kind, ...("unit" in work ? { unit: work.unit } : {}) };
}

/** The lane that works longest. */
export function busiestLane({ busy }: SimulatedStep): Lane {
  return at(
    [...LANES].sort((a, b) => busy[b] - busy[a]),
    0,
  );
}
