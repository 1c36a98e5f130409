import type { Buffer, Device } from "zo2/native";
import { isZo2Error, Zo2Error } from "../base/errors.js";
import type { Recording } from "../ops/record.js";
import type { Output } from "../ops/value.js";
import { canonicalLength, type Parameter } from "../ops/parameter.js";
import { KeyValueCache, type CacheUse } from "./key-value-cache.js";
import { CommandList } from "./words.js";
import { COEFFICIENT_BYTES, LOSS_BYTES, STICKY } from "../contract/constants.js";
import { labelledCount, outputOf } from "../data/batch.js";
import { capacityOf, holds, joinCapacity, touchedRows, writeBatch, type Batch } from "../memory/batch-tables.js";
import type { FloatType } from "../base/dtype.js";
import {
  Executor,
  resultsOffset,
  type NoiseSource,
  type PassData,
  type PendingUpdate,
  type StepNoise,
} from "./issue.js";
import type { Capacity } from "../memory/places.js";
import {
  CONTROL,
  planMemory,
  READBACK,
  STEP_STATE,
  STEP_STATES,
  STEPS_IN_FLIGHT,
  type Plan,
  type PlanOptions,
  type Tier,
} from "../memory/plan.js";
import {
  doneEvent,
  hostSaw,
  schedulePass,
  START,
  type Command,
  type Frontier,
  type Pass,
  type SchedulePlan,
} from "../schedule/pass.js";
import type { WeightStore } from "./store.js";
import type { Unit } from "../memory/units.js";

export interface EngineOptions {
  readonly slots: number;
  readonly overlap: boolean;
  readonly wire: FloatType;
  readonly compute: FloatType;
  readonly rounding: "nearest" | "stochastic";
  readonly deviceMemory?: number;
  readonly positionRow: (position: number) => number;
  /** Test mode: what nothing may read any more is filled with NaN. */
  readonly poison: boolean;
  /** Test mode: sees every pass and its commands when they are submitted. */
  readonly onPass?: PassObserver;
}

/** Sees a pass and the commands it was turned into. */
export type PassObserver = (pass: Pass, commands: readonly Command[]) => void;

/**
 * One zeroth-order step (MeZO, arXiv 2305.17333): g = (loss+ - loss-) / (2 eps), to be applied with the learning rate
 * given here.
 */
export interface StepRequest {
  /** Counter of the noise: z is a function of (seed, step, element). 0 .. 2^32 - 1. */
  readonly step: number;
  readonly seed: bigint;
  readonly eps: number;
  readonly learningRate: number;
  readonly weightDecay: number;
  /** `buffer`: z of this step, fp32, in the canonical order (`canonicalLength` elements). For tests. */
  readonly noise: "gaussian" | "rademacher" | { readonly z: Float32Array };
  /** Replaces the projected gradient of the losses. For tests and for objectives computed elsewhere. */
  readonly projectedGradient?: number;
}

/** One side of a step: the weights stand eps away from their place along its direction. */
export interface Perturbation extends Pick<StepRequest, "seed" | "step" | "eps" | "noise"> {
  readonly side: "plus" | "minus";
}

export interface ForwardOptions {
  /** What the head leaves behind. @default what the batch's objective needs */
  readonly output?: Output;
  /** The key/value cache that attention reads and adds to. */
  readonly cache?: CacheUse;
  /** Where the weights stand. @default in their place */
  readonly perturbation?: Perturbation;
}

/** The results of both branches of a step, by micro-batch: [targets], or [headRows x columns]. */
export interface BranchResults {
  readonly plus: Float32Array[];
  readonly minus: Float32Array[];
}

export interface StepResult {
  readonly lossPlus: number;
  readonly lossMinus: number;
  /** As fp32 has it. */
  readonly projectedGradient: number;
}

/**
 * Runs passes over a model on one device: plans memory for the batches it meets, keeps at most two steps in flight, and
 * carries the update that is pending.
 *
 * A step's update is applied by the next visit of each unit. Until `commit` the last step counts as not taken: `flush`
 * and `forward` leave its update out, `discard` forgets it.
 */
export class Engine {
  private executor: Executor | null = null;
  private frontier: Frontier = START;
  private pending: (PendingUpdate & { committed: boolean }) | null = null;
  private passes = 0;
  private steps = 0;
  private readonly ringFree: Promise<unknown>[] = Array.from({ length: STEPS_IN_FLIGHT }, () => Promise.resolve());
  private queue: Promise<unknown> = Promise.resolve();
  /** By step state: a table is free again when the state of its step is. */
  private readonly noiseTables = new Map<number, Buffer>();
  private readonly gathers: boolean;
  private disposed = false;
  private frozen: ReadonlySet<Parameter> = new Set();
  /** Forward passes that have worked out the pending update anew, without storing it. */
  private applied = 0;

  private constructor(
    private readonly device: Device,
    private readonly store: WeightStore,
    private readonly recording: Recording,
    private readonly units: readonly Unit[],
    private readonly control: Buffer,
    /** Host memory of the coefficients of the last steps, for those that come from the caller. */
    private readonly gradients: Buffer,
    private readonly options: EngineOptions,
  ) {
    this.gathers = units.some((u) => u.gathered !== null);
  }

  static async create(
    device: Device,
    store: WeightStore,
    recording: Recording,
    units: readonly Unit[],
    options: EngineOptions,
  ): Promise<Engine> {
    const control = await device.createBuffer("device", CONTROL.bytes);
    const stream = device.createStream("control");
    const ready = device.createEvent();
    const commands = new CommandList();
    commands.fill(stream, { buffer: control, offset: 0 }, 0, CONTROL.bytes);
    commands.record(stream, ready);
    device.submit(commands.words, commands.handles);
    await ready.done();
    ready.dispose();
    stream.dispose();
    const gradients = await device.createBuffer("host", STEP_STATES * COEFFICIENT_BYTES);
    return new Engine(device, store, recording, units, control, gradients, options);
  }

  /** The plan in force; null before the first batch. */
  get plan(): Plan | null {
    return this.executor?.plan ?? null;
  }

  /** The plan for this batch, without allocating anything. Throws ZO2_ERR_MEMORY_BUDGET. */
  planForBatch(batch: Batch, branches: 1 | 2): Plan {
    return this.planFor({ capacity: this.capacityFor(batch), branches, output: outputFor(batch), cache: null });
  }

  private capacityFor(batch: Batch): Capacity {
    return capacityOf(batch, this.gathers ? touchedRows(batch) : null);
  }

  private planFor(needs: Needs): Plan {
    const { slots, deviceMemory, wire, compute } = this.options;
    return planMemory(this.units, {
      tier: this.store.tier,
      slots,
      ...needs,
      wire,
      compute,
      ...(deviceMemory === undefined ? {} : { deviceMemory }),
    });
  }

  /**
   * A key/value cache of `rows` rows for every attention, on the device where the plan for `prompts` has room for it,
   * else in host memory.
   * @param tier where it has to rest; absent: by plan.
   * @throws Zo2Error ZO2_ERR_MEMORY_BUDGET, ZO2_ERR_OUT_OF_MEMORY
   */
  async createCache(rows: number, prompts: Batch, tier?: Tier): Promise<KeyValueCache> {
    const needs = (where: Tier): Needs => ({
      capacity: this.capacityFor(prompts),
      branches: 1,
      output: "logits",
      cache: { tier: where, rows },
    });
    const fits = (where: Tier): boolean => {
      try {
        this.planFor(needs(where));
        return true;
      } catch (error) {
        if (isZo2Error(error) && error.code === "ZO2_ERR_MEMORY_BUDGET") return false;
        throw error;
      }
    };
    const create = async (where: Tier) => {
      // What an executor of another shape holds may be in the way.
      const { plan } = await this.ensure(needs(where));
      return KeyValueCache.create(this.device, where, rows, plan.cache?.bytes ?? 0);
    };
    return this.serialize(async () => {
      if (tier !== undefined) return create(tier);
      if (!fits("device")) return create("host");
      try {
        return await create("device");
      } catch (error) {
        // The plan does not know what else is on the device: another generation's cache, other programs.
        if (!isZo2Error(error) || error.code !== "ZO2_ERR_OUT_OF_MEMORY") throw error;
        return create("host");
      }
    });
  }

  /**
   * Enqueues one step. The promise resolves when its losses are there; the outer one when the next step may be
   * enqueued. The step is pending and not committed afterwards.
   */
  train(batch: Batch, request: StepRequest): Promise<{ readonly result: Promise<StepResult> }> {
    return this.serialize(async () => {
      const labelled = batch.reduce((sum, b) => sum + labelledCount(b), 0);
      if (labelled === 0)
        throw new Zo2Error(
          "ZO2_ERR_DATA",
          `step ${request.step}: nothing of the batch carries a label; every example needs one`,
        );
      const executor = await this.ensure({
        capacity: this.capacityFor(batch),
        branches: 2,
        output: outputFor(batch),
        cache: null,
      });
      const step = await this.newStep(request);
      const inject = request.projectedGradient ?? null;
      const { end } = await this.pass(
        executor,
        { kind: "train", gradient: inject === null ? "losses" : "batch" },
        batch,
        { step, labelled, inject },
        readStep,
      );
      this.setPending(step, request);
      return { result: end };
    });
  }

  /**
   * The first half of a step whose objective is computed by the caller: the results of both branches. `finishStep` is
   * the other half; a step that is left unfinished has no update.
   */
  async branches(batch: Batch, request: StepRequest): Promise<BranchResults> {
    const { end } = await this.serialize(async () => {
      const executor = await this.ensure({
        capacity: this.capacityFor(batch),
        branches: 2,
        output: outputFor(batch),
        cache: null,
      });
      const step = await this.newStep(request);
      const read = (memory: ArrayBuffer): BranchResults => ({
        plus: readResults(memory, executor, batch, 0),
        minus: readResults(memory, executor, batch, batch.length),
      });
      const pass = await this.pass(executor, { kind: "train", gradient: "caller" }, batch, { step }, read);
      // The update that was pending is on its way into the weights.
      this.pending = null;
      return pass;
    });
    return end;
  }

  /**
   * The second half of a step: g from the two losses, or the one given with the request, is pending and not committed
   * afterwards.
   * @throws Zo2Error ZO2_ERR_NOT_FINITE, and there is no update then
   */
  async finishStep(
    request: StepRequest,
    losses: { readonly plus: number; readonly minus: number },
  ): Promise<StepResult> {
    await this.flush();
    return this.serialize(async () => {
      const g = Math.fround(request.projectedGradient ?? (losses.plus - losses.minus) / (2 * request.eps));
      if (!Number.isFinite(g)) {
        throw new Zo2Error(
          "ZO2_ERR_NOT_FINITE",
          `step ${request.step}: the losses ${losses.plus} and ${losses.minus} give a projected gradient of ` +
            `${g}; the objective must return finite numbers`,
        );
      }
      const executor = await this.ensure(NOTHING);
      const step = await this.newStep(request);
      const offset = step.state * COEFFICIENT_BYTES;
      writeCoefficient(new DataView(this.gradients.view(offset, COEFFICIENT_BYTES)), g);
      const commands = new CommandList();
      // On the compute lane, where what reads it comes later.
      commands.copy(
        executor.stream("compute"),
        { buffer: this.control, offset: CONTROL.states + step.state * STEP_STATE.bytes + STEP_STATE.coefficient },
        { buffer: this.gradients, offset },
        COEFFICIENT_BYTES,
      );
      this.device.submit(commands.words, commands.handles);
      this.setPending(step, request);
      return { lossPlus: losses.plus, lossMinus: losses.minus, projectedGradient: g };
    });
  }

  private async newStep(request: StepRequest): Promise<StepNoise & { eps: number; state: number }> {
    const state = this.steps++ % STEP_STATES;
    return {
      seed: request.seed,
      step: request.step,
      noise: await this.noiseSource(request, state),
      eps: request.eps,
      state,
    };
  }

  private setPending(step: StepNoise & { readonly state: number }, { learningRate, weightDecay }: StepRequest): void {
    this.pending = { ...step, learningRate, weightDecay, committed: false };
    this.applied = 0;
  }

  /** From now on these parameters are neither perturbed nor updated. What is committed is applied before. */
  async freeze(frozen: ReadonlySet<Parameter>): Promise<void> {
    await this.flush();
    await this.serialize(async () => {
      const same = frozen.size === this.frozen.size && [...frozen].every((p) => this.frozen.has(p));
      if (same) return;
      this.frozen = frozen;
      if (this.executor !== null) await this.rebuild(this.executor.plan);
    });
  }

  /** The last step counts as taken from now on. */
  commit(): void {
    if (this.pending !== null) this.pending.committed = true;
  }

  /** Forgets the last step's update if it was not committed. */
  discard(): void {
    if (this.pending?.committed === false) this.pending = null;
  }

  /** Applies the committed update everywhere, after what is in flight. */
  flush(): Promise<void> {
    return this.serialize(async () => {
      if (this.pending?.committed !== true) return;
      const executor = await this.ensure(NOTHING);
      const { end } = await this.pass(executor, { kind: "flush" }, [], {}, () => undefined);
      this.pending = null;
      this.applied = 0;
      await end;
    });
  }

  /**
   * One forward pass, with every committed update. Resolves with the result of each micro-batch: its log-probabilities
   * [targets], or logits [headRows x columns].
   *
   * It stores nothing: a pending update is worked out in scratch. After `APPLIED_AT_MOST` such passes a flush is
   * cheaper than the next one.
   */
  async forward(batch: Batch, o: ForwardOptions = {}): Promise<Float32Array[]> {
    if (this.applied >= APPLIED_AT_MOST) await this.flush();
    const { end } = await this.serialize(async () => {
      const { cache } = o;
      const needs = cache === undefined ? null : { tier: cache.cache.tier, rows: cache.cache.rows };
      const executor = await this.ensure({
        capacity: this.capacityFor(batch),
        branches: 1,
        output: o.output ?? outputFor(batch),
        cache: needs,
      });
      const perturbation = o.perturbation === undefined ? null : await this.perturbed(o.perturbation);
      const read = (memory: ArrayBuffer) => readResults(memory, executor, batch, 0);
      if (this.pending?.committed === true) this.applied++;
      return this.pass(
        executor,
        { kind: "forward" },
        batch,
        { perturbation, ...(cache === undefined ? {} : { cache }) },
        read,
      );
    });
    return end;
  }

  private async perturbed({
    seed,
    step,
    eps,
    noise,
    side,
  }: Perturbation): Promise<NonNullable<PassData["perturbation"]>> {
    // fma(-eps, z, w) as W+ is W- of eps, bit for bit.
    return {
      seed,
      step,
      noise: await this.noiseSource({ noise }, this.steps % STEP_STATES),
      eps: side === "plus" ? eps : -eps,
    };
  }

  /** Clears the flags that an update which went wrong has left. */
  clearSticky(): Promise<void> {
    return this.serialize(async () => {
      const executor = await this.ensure(NOTHING);
      const stream = executor.stream("compute");
      const commands = new CommandList();
      commands.fill(stream, { buffer: this.control, offset: CONTROL.sticky }, 0, 8);
      this.device.submit(commands.words, commands.handles);
    });
  }

  /** Waits for what is in flight and frees everything but the store. */
  async dispose(): Promise<void> {
    if (this.disposed) return;
    this.disposed = true;
    await this.queue.catch(() => undefined);
    await Promise.allSettled(this.ringFree);
    this.executor?.dispose();
    for (const table of this.noiseTables.values()) table.dispose();
    this.control.dispose();
    this.gradients.dispose();
  }

  private serialize<T>(work: () => Promise<T>): Promise<T> {
    if (this.disposed) return Promise.reject(new Zo2Error("ZO2_ERR_DISPOSED", "the model was disposed; load it again"));
    const result = this.queue.then(work);
    this.queue = result.catch(() => undefined);
    return result;
  }

  /** Makes the arenas large enough. The pending update survives: its state is in the control buffer. */
  private async ensure(needed: Needs): Promise<Executor> {
    const current = this.executor;
    const have = current?.plan.options;
    if (current === null || have === undefined)
      return this.rebuild(this.planFor(needed === NOTHING ? { ...NOTHING, branches: 1 } : needed));
    if (needed === NOTHING) return current;
    const sameKind = have.output === needed.output && sameCache(have.cache, needed.cache);
    if (sameKind && have.branches >= needed.branches && holds(have.capacity, needed.capacity)) return current;
    // A pass of another kind has its own sizes: logits of every row that a training batch scores would be gigabytes.
    if (!sameKind) return this.rebuild(this.planFor(needed));
    return this.rebuild(
      this.planFor({
        ...needed,
        capacity: joinCapacity(have.capacity, needed.capacity),
        branches: have.branches === 2 ? 2 : needed.branches,
      }),
    );
  }

  private async rebuild(plan: Plan): Promise<Executor> {
    await Promise.all(this.ringFree);
    // The old arenas have to be gone before the new ones are allocated: there may be room for one only.
    await this.executor?.settle();
    this.executor?.dispose();
    this.executor = null;
    this.frontier = START;
    this.executor = await Executor.create(this.device, this.store, this.control, plan, this.recording, this.frozen);
    return this.executor;
  }

  /** Enqueues a pass; resolves when that is done, with a promise of what `read` makes of the memory that comes back. */
  private async pass<T>(
    executor: Executor,
    what: { readonly kind: Pass["kind"]; readonly gradient?: Pass["gradient"] },
    batch: Batch,
    about: {
      readonly step?: PassData["step"];
      readonly labelled?: number;
      readonly inject?: number | null;
      readonly perturbation?: PassData["perturbation"];
      readonly cache?: CacheUse;
    },
    read: (memory: ArrayBuffer) => T,
  ): Promise<{ readonly end: Promise<T> }> {
    const ring = this.passes++ % STEPS_IN_FLIGHT;
    await this.ringFree[ring];
    const { plan } = executor;
    const { kind } = what;
    const { step = null, labelled = 0, inject = null, perturbation = null, cache } = about;
    const pending = kind === "forward" && this.pending?.committed !== true ? null : this.pending;
    const pass: Pass = {
      kind,
      microBatches: batch.length,
      update: pending !== null,
      ring,
      gradient: what.gradient ?? "losses",
      perturbed: perturbation !== null,
      cache:
        cache === undefined ? null : { tier: cache.cache.tier, upload: cache.used.some((range) => range.count > 0) },
    };
    const table = this.gathers && kind !== "flush" ? touchedRows(batch) : null;
    if (kind !== "flush") {
      const staging = executor.staging(ring);
      writeBatch(batch, plan.batch, staging, table, this.options.positionRow);
      if (inject !== null) writeCoefficient(new DataView(staging, plan.batch.coefficient), inject);
    }
    const { commands, after } = schedulePass(schedulePlan(plan, this.options), pass, this.frontier);
    const { rounding, wire } = this.options;
    this.options.onPass?.(pass, commands);
    const memory = cache === undefined ? null : { buffer: cache.cache.buffer, used: cache.used, added: cache.added };
    const data = { pass, batch, table, step, perturbation, cache: memory, pending, rounding, labelled };
    const submitted = executor.submit(commands, data, doneEvent(ring));
    this.frontier = after;
    const end = submitted.then(() => {
      // No later pass of this ring was scheduled before this: the event is still that of this pass.
      this.frontier = hostSaw(this.frontier, doneEvent(ring));
      const memory = executor.readback(ring);
      checkSticky(memory, wire);
      return read(memory);
    });
    this.ringFree[ring] = end.catch(() => undefined);
    return { end };
  }

  private async noiseSource(request: Pick<StepRequest, "noise">, state: number): Promise<NoiseSource> {
    if (typeof request.noise === "string") return { kind: request.noise };
    const bytes = canonicalLength(this.recording.parameters) * 4;
    const buffer = this.noiseTables.get(state) ?? (await this.device.createBuffer("host", bytes));
    this.noiseTables.set(state, buffer);
    new Float32Array(buffer.view(0, bytes)).set(request.noise.z);
    return { kind: "buffer", z: { buffer, offset: 0 } };
  }
}

const NO_BATCH: Capacity = {
  rows: 1,
  sequences: 1,
  headRows: 1,
  targets: 1,
  tableRows: 1,
  microBatches: 1,
  objectiveWords: 1,
};

/** What a pass needs of a plan. */
type Needs = Pick<PlanOptions, "capacity" | "branches" | "output" | "cache">;

/** A pass without a batch: any plan will do. */
const NOTHING: Needs = { capacity: NO_BATCH, branches: 1, output: "logprobs", cache: null };

/** Working out a pending update takes noise for every weight; a flush takes that and one transfer more. */
const APPLIED_AT_MOST = 2;

function outputFor(batch: Batch): Output {
  return batch[0] === undefined ? "logprobs" : outputOf(batch[0].objective);
}

function sameCache(a: PlanOptions["cache"], b: PlanOptions["cache"]): boolean {
  return a?.tier === b?.tier && a?.rows === b?.rows;
}

function schedulePlan(plan: Plan, options: EngineOptions): SchedulePlan {
  const table = plan.units.find((u) => u.gathered !== null)?.gathered?.parameter ?? null;
  return {
    tier: plan.options.tier,
    units: plan.units.map((u) => ({
      gathered: u.gathered !== null,
      direct: u.gathered === null && u.tensors.every((t) => t.wire === t.scratch),
      cached: (plan.cache?.units[u.index] ?? null) !== null,
    })),
    gatherSources: plan.units
      .filter((u) => table !== null && u.tensors.some((t) => t.parameter === table))
      .map((u) => u.index),
    slots: plan.device.slots.length,
    cacheSlots: plan.device.cacheSlots.length,
    overlap: options.overlap,
    poison: options.poison,
  };
}

/** A `zo2_coefficient`. */
function writeCoefficient(view: DataView, g: number): void {
  view.setFloat32(0, g, true);
  view.setUint32(4, Number.isFinite(g) ? 1 : 0, true);
}

function readStep(memory: ArrayBuffer): StepResult {
  const state = new DataView(memory, READBACK.state);
  return {
    lossPlus: state.getFloat64(STEP_STATE.losses, true),
    lossMinus: state.getFloat64(STEP_STATE.losses + LOSS_BYTES, true),
    projectedGradient: state.getFloat32(STEP_STATE.coefficient, true),
  };
}

function readResults(memory: ArrayBuffer, executor: Executor, batch: Batch, firstArea: number): Float32Array[] {
  return batch.map((b, i) =>
    new Float32Array(memory, resultsOffset(executor.plan, firstArea + i), executor.resultCount(b)).slice(),
  );
}

function checkSticky(memory: ArrayBuffer, wire: FloatType): void {
  const view = new DataView(memory, READBACK.sticky);
  const flags = view.getUint32(0, true);
  if (flags === 0) return;
  const step = view.getUint32(4, true);
  throw new Zo2Error(
    "ZO2_ERR_NOT_FINITE",
    (flags & STICKY.overflow) !== 0
      ? `step ${step}: an updated weight does not fit in ${wire}; lower the learning rate, or use the wire dtype ` +
          "fp32 or bf16"
      : `step ${step}: the projected gradient is not a finite number; lower the learning rate or eps, and check ` +
          "the batch of that step",
  );
}
