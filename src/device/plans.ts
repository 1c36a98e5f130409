import type { Device } from "zo2/native";
import { at } from "../base/at.js";
import { isZo2Error } from "../base/errors.js";
import { withinBudget } from "../memory/budget.js";
import { type Batch, capacityOf, holds, joinCapacity, NO_BATCH, touchedRows } from "../memory/batch-tables.js";
import { type Needs, needsFor, prefixRowsOf } from "../memory/needs.js";
import { activationTiers, type Plan, planMemory, type PlanOptions } from "../memory/plan.js";
import type { Capacity } from "../memory/places.js";
import { type Arrangement, changesOf, residencesOf } from "../memory/residence.js";
import { schedulePlan } from "../memory/schedule-plan.js";
import type { Unit } from "../memory/units.js";
import type { Probe } from "../method/index.js";
import { outputOf, type PackedBatch, TARGET_FIELDS } from "../data/batch.js";
import { fixedParameters, type Parameter } from "../ops/parameter.js";
import type { Recording } from "../ops/record.js";
import type { Output } from "../ops/value.js";
import type { Declared } from "../schedule/command.js";
import type { Pass } from "../schedule/facts.js";
import { passCommands } from "../schedule/pass.js";
import type { Control } from "./control.js";
import { Issue } from "./issue.js";
import { PlanObjects } from "./objects.js";
import type { SessionOptions } from "./options.js";
import type { PassData } from "./pass-data.js";
import type { Queue } from "./queue.js";
import type { PassSeal } from "./seals.js";
import type { WeightStore } from "./store.js";

/** A plan in force: its objects on the device, and what issues and schedules its passes. */
export interface Active {
  readonly plan: Plan;
  readonly objects: PlanObjects;
  /** The commands of a pass, which are the same for every pass of its kind. */
  readonly commands: (pass: Pass) => readonly Declared[];
  readonly issue: (data: PassData, seal: PassSeal | null) => Issue;
  /** fp32 values that the head leaves behind for a micro-batch: [targets], or [headRows x columns]. */
  readonly resultCount: (micro: PackedBatch) => number;
}

/** Makes plans for the batches that come, one in force at a time: as large as all that were met of one kind. */
export class Plans {
  private current: Active | null = null;
  private frozen: ReadonlySet<Parameter>;
  /** Those that never change, whatever is frozen. */
  private readonly fixed: ReadonlySet<Parameter>;
  /** How units are held, besides where the store has them. */
  private held: Pick<SessionOptions, "slots" | "prepareAhead" | "activations">;
  /** Whether rows of a tied embedding are gathered for a batch. */
  readonly gathers: boolean;
  /** Rows of keys and values that an adapter puts in front of every sequence. */
  readonly prefixRows: number;
  private readonly tables = new WeakMap<Batch, Int32Array>();

  /** @param idle resolves when no pass is in flight. */
  constructor(
    private readonly device: Device,
    private readonly queue: Queue,
    private readonly store: WeightStore,
    private readonly control: Control,
    private readonly recording: Recording,
    private readonly units: readonly Unit[],
    private readonly options: SessionOptions,
    private readonly idle: () => Promise<unknown>,
  ) {
    this.gathers = units.some((u) => u.gathered !== null);
    this.prefixRows = prefixRowsOf(units);
    this.held = options;
    this.fixed = fixedParameters(recording.parameters);
    this.frozen = this.fixed;
  }

  /** Null before the first batch. */
  get active(): Active | null {
    return this.current;
  }

  /** The rows of the gathered table that a batch touches; null where no table is gathered. */
  tableOf(batch: Batch): Int32Array | null {
    if (!this.gathers) return null;
    const table = this.tables.get(batch) ?? touchedRows(batch);
    this.tables.set(batch, table);
    return table;
  }

  needsOf(batch: Batch, probes: readonly Probe[], output?: Output): Needs {
    const [first] = batch;
    const needed = output ?? (first === undefined ? "logprobs" : outputOf(first.objective));
    return this.needsFor(capacityOf(batch, this.tableOf(batch)), probes, needed);
  }

  /** What these probes need of any batches that a capacity holds. */
  needsFor(capacity: Capacity, probes: readonly Probe[], output: Output): Needs {
    return needsFor(this.units, capacity, probes, output);
  }

  /** Whether some unit moves now. */
  get moves(): boolean {
    return this.store.tiers.some((tier) => tier !== "device");
  }

  /**
   * With units where they rest; where that has no room and they may be arranged anew, with them elsewhere.
   * @throws Zo2Error ZO2_ERR_MEMORY_BUDGET
   */
  planFor(needs: Needs): Plan {
    if (this.options.arrange === undefined) return this.planHeld(needs);
    return withinBudget(() => this.planHeld(needs)) ?? this.planArranged(needs);
  }

  /** The same, or null where it does not fit in the memory that is allowed. */
  planWithin(needs: Needs): Plan | null {
    return withinBudget(() => this.planFor(needs));
  }

  /** A plan that holds what is needed, made where the one in force does not; null: any plan will do. */
  async ensure(needed: Needs | null): Promise<Active> {
    const { current } = this;
    if (current === null) return this.rebuild(this.planFor(needed ?? NO_PASS));
    if (needed === null) return current;
    const have = current.plan.options;
    // A pass of another kind has its own sizes: logits of every row that a training batch scores would be gigabytes.
    if (!sameKind(have, needed)) return this.rebuild(this.planFor(needed));
    const enough = have.probes >= needed.probes && have.sides >= needed.sides;
    if (enough && holds(have.capacity, needed.capacity)) return current;
    return this.rebuild(this.planJoined(joinNeeds(have, needed), needed));
  }

  /**
   * Makes sure that each of these could have a plan, and puts one in force that holds all of the first one's kind,
   * where they fit in one. Units are arranged for it, where they may be.
   * @throws Zo2Error ZO2_ERR_MEMORY_BUDGET, ZO2_ERR_OUT_OF_MEMORY
   */
  async ensureAll(needs: readonly Needs[]): Promise<void> {
    const [first] = needs;
    if (first === undefined) return;
    for (const each of needs) this.planFor(each);
    const all = needs.filter((other) => sameKind(first, other)).reduce(joinNeeds);
    const needed = this.planJoined(all, first).options;
    if (this.options.arrange === undefined) await this.ensure(needed);
    else await this.rebuild(this.planArranged(needed));
  }

  /** From the next pass on these parameters are neither perturbed nor updated, nor is the base of an adapter. */
  async freeze(also: ReadonlySet<Parameter>): Promise<void> {
    const frozen = new Set([...this.fixed, ...also]);
    if (frozen.size === this.frozen.size && [...frozen].every((p) => this.frozen.has(p))) return;
    this.frozen = frozen;
    if (this.current !== null) await this.rebuild(this.planFor(this.current.plan.options));
  }

  /**
   * Makes sure that what steps may change has a place where it can be written.
   * @throws Zo2Error ZO2_ERR_OUT_OF_MEMORY, ZO2_ERR_MEMORY_BUDGET
   */
  makeRoom(): Promise<void> {
    return this.store.makeRoom(this.units.filter((unit) => changesOf(unit, this.frozen)).map(({ index }) => index));
  }

  dispose(): void {
    this.current?.objects.dispose();
    this.current = null;
  }

  /**
   * For passes together, where they fit in one plan; those that fit one by one may not. None has its activations moved
   * for the sake of the others.
   */
  private planJoined(together: Needs, needed: Needs): Plan {
    const joined = this.planWithin(together);
    if (joined?.options.activations === "device") return joined;
    const alone = this.planFor(needed);
    return joined !== null && alone.options.activations === "host" ? joined : alone;
  }

  private planHeld(needs: Needs): Plan {
    const { arrange, activations } = this.options;
    const { tiers } = this.store;
    const { slots, prepareAhead, activations: held } = this.held;
    // Units that may rest elsewhere make room before activations do.
    const stay = activations === "auto" && arrange !== undefined && held !== "host";
    const ways = this.waysToHold(needs, { prepareAhead, activations: stay ? "device" : activations });
    const [last, ...others] = ways.map((way) => () => this.planWith(needs, { tiers, slots, ...way })).reverse();
    if (last === undefined) throw new Error("there is no way to hold units");
    for (const plan of others.reverse()) {
      const fits = withinBudget(plan);
      if (fits !== null) return fits;
    }
    return last();
  }

  /** By preference. */
  private waysToHold(
    needs: Needs,
    { prepareAhead, activations }: Pick<SessionOptions, "prepareAhead" | "activations">,
  ): readonly Pick<Arrangement, "prepareAhead" | "activations">[] {
    const usual = this.aheadPays ? [true, false] : [false];
    const aheads = prepareAhead === "auto" ? usual : [prepareAhead === "on"];
    const tiers = activations === "auto" ? activationTiers(needs) : [activations];
    return tiers.flatMap((tier) => aheads.map((ahead) => ({ prepareAhead: ahead, activations: tier })));
  }

  /** What is needed may be that of a plan, whose other options are chosen anew. */
  private planArranged({ capacity, probes, sides, output, cache }: Needs): Plan {
    const { arrange } = this.options;
    if (arrange === undefined) throw new Error("units stay where they rest");
    const needs = { capacity, probes, sides, output, cache };
    return this.planWith(needs, arrange(needs, this.control.layout));
  }

  private planWith(
    { capacity, probes, sides, output, cache }: Needs,
    { tiers, slots, prepareAhead, activations }: Arrangement,
  ): Plan {
    const { deviceMemory, hostMemory, totalMemory, compute } = this.options;
    return planMemory(this.units, {
      ...{
        capacity,
        probes,
        sides,
        prepareAhead,
        activations,
        output,
        cache,
        slots,
        deviceMemory,
        hostMemory,
        totalMemory,
        compute,
      },
      control: this.control.layout,
      residences: residencesOf(
        this.units,
        (unit) => at(tiers, unit),
        this.frozen,
        (unit) => this.store.hasRoom(unit),
      ),
    });
  }

  /**
   * Those of the plan; where the device has less memory than was thought, those of one that prepares nothing ahead, or
   * that has activations in host memory.
   */
  private async createObjects(plan: Plan): Promise<PlanObjects> {
    const { slots, prepareAhead, activations } = plan.options;
    const ways = this.waysToHold(plan.options, this.options);
    const own = ways.findIndex((way) => way.prepareAhead === prepareAhead && way.activations === activations);
    const spares = ways.slice(own + 1).map((way) => () => {
      return withinBudget(() => this.planWith(plan.options, { tiers: this.store.tiers, slots, ...way }));
    });
    for (let tried: Plan = plan; ; ) {
      try {
        return await PlanObjects.create(this.device, tried, this.recording.inputs, this.frozen);
      } catch (error) {
        const next = spares.shift()?.() ?? null;
        if (next === null || !isZo2Error(error) || error.code !== "ZO2_ERR_OUT_OF_MEMORY") throw error;
        tried = next;
      }
    }
  }

  /** The CPU has no arithmetic to spare while a unit runs: both share one pool of threads. */
  private get aheadPays(): boolean {
    return this.options.overlap && this.device.info().kind.startsWith("cuda");
  }

  /** Brings units to where a plan has them. */
  private async hold({ options: { residences, slots, prepareAhead, activations } }: Plan): Promise<void> {
    if (this.options.arrange === undefined) return;
    await this.store.move(residences.map(({ rest }) => rest));
    this.held = { slots, prepareAhead: prepareAhead ? "on" : "off", activations };
  }

  private async rebuild(wanted: Plan): Promise<Active> {
    await this.idle();
    // Nothing is copied from an arena that is not there.
    await this.store.ready();
    // The old arenas have to be gone before the new ones are allocated: there may be room for one only.
    await this.queue.settle();
    this.dispose();
    this.queue.renew();
    await this.hold(wanted);
    const objects = await this.createObjects(wanted);
    const { plan } = objects;
    const { store, control } = this;
    const { columns } = this.recording.logits;
    const resultCount = ({ targets, headRows }: PackedBatch) =>
      plan.options.output === "logprobs" ? targets.length / TARGET_FIELDS : headRows.length * columns;
    const issue: Active["issue"] = (data, seal) => new Issue({ objects, store, control, resultCount }, data, seal);
    const schedule = schedulePlan(plan, this.frozen, this.options.poison);
    // Training has as many kinds of passes as there are step states, evaluation between its steps as many again.
    const kinds = Math.min(2 * control.layout.states.length, MOST_KINDS);
    const commands = remembered(kinds, (pass) => passCommands(schedule, pass));
    this.current = { plan, objects, commands, issue, resultCount };
    return this.current;
  }
}

/** Commands of a large model are thousands. */
const MOST_KINDS = 64;

/** The results of `commandsOf` for the last kinds of passes. */
function remembered(
  kinds: number,
  commandsOf: (pass: Pass) => readonly Declared[],
): (pass: Pass) => readonly Declared[] {
  const known = new Map<string, readonly Declared[]>();
  return (pass) => {
    const kind = JSON.stringify(pass);
    const commands = known.get(kind) ?? commandsOf(pass);
    known.delete(kind);
    known.set(kind, commands);
    const [oldest] = known.keys();
    if (known.size > kinds && oldest !== undefined) known.delete(oldest);
    return commands;
  };
}

/** Of a plan that no batch has asked for. */
const NO_PASS: Needs = { capacity: NO_BATCH, probes: 1, sides: 1, output: "logprobs", cache: null };

function sameKind(a: Needs, b: Needs): boolean {
  return a.output === b.output && sameCache(a.cache, b.cache);
}

/** Of two of one kind. */
function joinNeeds(a: Needs, b: Needs): Needs {
  return {
    ...b,
    capacity: joinCapacity(a.capacity, b.capacity),
    probes: Math.max(a.probes, b.probes),
    sides: Math.max(a.sides, b.sides),
  };
}

function sameCache(a: PlanOptions["cache"], b: PlanOptions["cache"]): boolean {
  return a?.tier === b?.tier && a?.rows === b?.rows;
}
