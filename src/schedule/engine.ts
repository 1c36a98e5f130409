import type { Buffer, Device } from "zo2/native";
import { Zo2Error } from "../errors.js";
import type { Recording } from "../models/recorder.js";
import { canonicalLength, type Parameter } from "../models/parameter.js";
import { CommandList } from "../native/commands.js";
import { STEP_GRADIENT, STICKY } from "../native/constants.js";
import { labelledCount } from "../data/batch.js";
import { capacityOf, holds, joinCapacity, touchedRows, writeBatch, type Batch } from "./batch-tables.js";
import type { FloatType } from "./dtype.js";
import { Executor, resultsOffset, type NoiseSource, type PassData, type PendingUpdate } from "./execute.js";
import type { Capacity } from "./places.js";
import { CONTROL, planMemory, READBACK, STEP_STATES, STEPS_IN_FLIGHT, type Plan } from "./plan.js";
import { doneEvent, hostSaw, schedulePass, START, type Frontier, type Pass, type SchedulePlan } from "./schedule.js";
import type { WeightStore } from "./store.js";
import type { Unit } from "./units.js";

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
}

/** One zeroth-order step (MeZO, arXiv 2305.17333): g = (loss+ - loss-) / (2 eps), to be applied with the learning rate given here. */
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

export interface StepResult {
  readonly lossPlus: number;
  readonly lossMinus: number;
  /** As fp32 has it. */
  readonly projectedGradient: number;
}

/**
 * Runs passes over a model on one device: plans memory for the batches it meets, keeps at most two steps in flight, and carries the
 * update that is pending.
 *
 * A step's update is applied by the next visit of each unit. Until `commit` the last step counts as not taken: `flush` and `forward` leave
 * its update out, `discard` forgets it.
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

  private constructor(
    private readonly device: Device,
    private readonly store: WeightStore,
    private readonly recording: Recording,
    private readonly units: readonly Unit[],
    private readonly control: Buffer,
    private readonly options: EngineOptions,
  ) {
    this.gathers = units.some((u) => u.gathered !== null);
  }

  static async create(device: Device, store: WeightStore, recording: Recording, units: readonly Unit[], options: EngineOptions): Promise<Engine> {
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
    return new Engine(device, store, recording, units, control, options);
  }

  /** The plan in force; null before the first batch. */
  get plan(): Plan | null {
    return this.executor?.plan ?? null;
  }

  /** The plan for this batch, without allocating anything. Throws ZO2_ERR_MEMORY_BUDGET. */
  planForBatch(batch: Batch, branches: 1 | 2): Plan {
    return this.planFor(this.capacityFor(batch), branches);
  }

  private capacityFor(batch: Batch): Capacity {
    return capacityOf(batch, this.gathers ? touchedRows(batch) : null);
  }

  private planFor(capacity: Capacity, branches: 1 | 2): Plan {
    const { slots, deviceMemory, wire, compute } = this.options;
    return planMemory(this.units, {
      tier: this.store.tier, slots, branches, capacity, wire, compute, ...(deviceMemory === undefined ? {} : { deviceMemory }),
    });
  }

  /**
   * Enqueues one step. The promise resolves when its losses are there; the outer one when the next step may be enqueued.
   * The step is pending and not committed afterwards.
   */
  train(batch: Batch, request: StepRequest): Promise<{ readonly result: Promise<StepResult> }> {
    return this.serialize(async () => {
      const labelled = batch.reduce((sum, b) => sum + labelledCount(b), 0);
      if (labelled === 0) throw new Zo2Error("ZO2_ERR_DATA", `step ${request.step}: no token of the batch carries a label; every example needs one`);
      const executor = await this.ensure(this.capacityFor(batch), 2);
      const state = this.steps++ % STEP_STATES;
      const noise = await this.noiseSource(request, state);
      const step = { seed: request.seed, step: request.step, noise, eps: request.eps, state };
      const { end } = await this.pass(executor, "train", batch, { step, labelled, inject: request.projectedGradient ?? null }, readStep);
      this.pending = { ...step, learningRate: request.learningRate, weightDecay: request.weightDecay, committed: false };
      return { result: end };
    });
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
      const executor = await this.ensure(NO_BATCH, 1);
      const { end } = await this.pass(executor, "flush", [], { step: null, labelled: 0, inject: null }, () => undefined);
      this.pending = null;
      await end;
    });
  }

  /**
   * One forward pass with the weights as they rest, after a flush of what is committed. Resolves with the result of each micro-batch: its
   * log-probabilities [targets], or logits [headRows x vocabulary].
   */
  async forward(batch: Batch): Promise<Float32Array[]> {
    await this.flush();
    const { end } = await this.serialize(async () => {
      const executor = await this.ensure(this.capacityFor(batch), 1);
      const read = (memory: ArrayBuffer) => readResults(memory, executor.plan, this.recording.result, batch);
      return this.pass(executor, "forward", batch, { step: null, labelled: 0, inject: null }, read);
    });
    return end;
  }

  /** Clears the flags that an update which went wrong has left. */
  clearSticky(): Promise<void> {
    return this.serialize(async () => {
      const executor = await this.ensure(NO_BATCH, 1);
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
  }

  private serialize<T>(work: () => Promise<T>): Promise<T> {
    if (this.disposed) return Promise.reject(new Zo2Error("ZO2_ERR_DISPOSED", "the model was disposed; load it again"));
    const result = this.queue.then(work);
    this.queue = result.catch(() => undefined);
    return result;
  }

  /** Makes the arenas large enough. The pending update survives: its state is in the control buffer. */
  private async ensure(needed: Capacity, branches: 1 | 2): Promise<Executor> {
    const current = this.executor;
    const have = current?.plan.options;
    if (current !== null && have !== undefined && have.branches >= branches && holds(have.capacity, needed)) return current;
    const capacity = have === undefined ? needed : joinCapacity(have.capacity, needed);
    const plan = this.planFor(capacity, have?.branches === 2 ? 2 : branches);
    return this.rebuild(plan);
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
    executor: Executor, kind: Pass["kind"], batch: Batch,
    about: { readonly step: PassData["step"]; readonly labelled: number; readonly inject: number | null },
    read: (memory: ArrayBuffer) => T,
  ): Promise<{ readonly end: Promise<T> }> {
    const ring = this.passes++ % STEPS_IN_FLIGHT;
    await this.ringFree[ring];
    const { plan } = executor;
    const pending = kind === "forward" ? null : this.pending;
    const pass: Pass = { kind, microBatches: batch.length, update: pending !== null, ring, inject: about.inject !== null };
    const table = this.gathers && kind !== "flush" ? touchedRows(batch) : null;
    if (kind !== "flush") {
      const staging = executor.staging(ring);
      writeBatch(batch, plan.batch, staging, table, this.options.positionRow);
      if (about.inject !== null) writeGradient(new DataView(staging, plan.batch.state), about.inject);
    }
    const { commands, after } = schedulePass(schedulePlan(plan, this.options), pass, this.frontier);
    const { rounding, wire } = this.options;
    const submitted = executor.submit(commands, { pass, batch, table, step: about.step, pending, rounding, labelled: about.labelled }, doneEvent(ring));
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

  private async noiseSource(request: StepRequest, state: number): Promise<NoiseSource> {
    if (typeof request.noise === "string") return { kind: request.noise };
    const bytes = canonicalLength(this.recording.parameters) * 4;
    const buffer = this.noiseTables.get(state) ?? (await this.device.createBuffer("host", bytes));
    this.noiseTables.set(state, buffer);
    new Float32Array(buffer.view(0, bytes)).set(request.noise.z);
    return { kind: "buffer", z: { buffer, offset: 0 } };
  }
}

const NO_BATCH: Capacity = { rows: 1, sequences: 1, headRows: 1, targets: 1, tableRows: 1, microBatches: 1, objectiveWords: 1 };

function schedulePlan(plan: Plan, options: EngineOptions): SchedulePlan {
  const table = plan.units.find((u) => u.gathered !== null)?.gathered ?? null;
  return {
    tier: plan.options.tier,
    units: plan.units.map((u) => ({ gathered: u.gathered !== null })),
    gatherSources: plan.units.filter((u) => table !== null && u.tensors.some((t) => t.parameter === table)).map((u) => u.index),
    slots: plan.device.slots.length,
    overlap: options.overlap,
    poison: options.poison,
  };
}

/** The fields g and finite of a `zo2_step_state`. */
function writeGradient(view: DataView, g: number): void {
  view.setFloat32(STEP_GRADIENT.offset, g, true);
  view.setUint32(STEP_GRADIENT.offset + 4, Number.isFinite(g) ? 1 : 0, true);
}

function readStep(memory: ArrayBuffer): StepResult {
  const state = new DataView(memory, READBACK.state);
  return {
    lossPlus: state.getFloat64(0, true),
    lossMinus: state.getFloat64(8, true),
    projectedGradient: state.getFloat32(STEP_GRADIENT.offset, true),
  };
}

function readResults(memory: ArrayBuffer, plan: Plan, result: Recording["result"], batch: Batch): Float32Array[] {
  return batch.map((b, area) => {
    const count = result.rows === "targets" ? b.targets.length / 2 : b.headRows.length * result.columns;
    return new Float32Array(memory, resultsOffset(plan, area), count).slice();
  });
}

function checkSticky(memory: ArrayBuffer, wire: FloatType): void {
  const view = new DataView(memory, READBACK.sticky);
  const flags = view.getUint32(0, true);
  if (flags === 0) return;
  const step = view.getUint32(4, true);
  throw new Zo2Error(
    "ZO2_ERR_NOT_FINITE",
    (flags & STICKY.overflow) !== 0
      ? `step ${step}: an updated weight does not fit in ${wire}; lower the learning rate, or use the wire dtype fp32 or bf16`
      : `step ${step}: the projected gradient is not a finite number; lower the learning rate or eps, and check the batch of that step`,
  );
}
