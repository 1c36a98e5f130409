import type { Device, DeviceInfo } from "zo2/native";
import type { WireType } from "../base/dtype.js";
import { at } from "../base/at.js";
import { isZo2Error, Zo2Error } from "../base/errors.js";
import { labelledCount } from "../data/batch.js";
import { withPrefix } from "../data/prefix.js";
import type { Batch } from "../memory/batch-tables.js";
import { stepStates } from "../memory/control.js";
import type { Needs } from "../memory/needs.js";
import type { CacheTier, Plan } from "../memory/plan.js";
import { isAdapterUnit, type Unit } from "../memory/units.js";
import {
  AT_WEIGHTS,
  coefficientsOf,
  type PendingUpdate,
  type Probe,
  StepError,
  type StepOutcome,
  UpdateLog,
} from "../method/index.js";
import { canonicalLength, type Parameter } from "../ops/parameter.js";
import type { Recording } from "../ops/record.js";
import { Control } from "./control.js";
import { KeyValueCache } from "./key-value-cache.js";
import { drawnSource, NoiseTables } from "./noise.js";
import type { SessionOptions } from "./options.js";
import type { NoiseSource, PassData, Perturbation, StepData } from "./pass-data.js";
import { Passes } from "./passes.js";
import { type Active, Plans } from "./plans.js";
import { Queue } from "./queue.js";
import { readOutcome, readResults } from "./readback.js";
import type { Direction, ForwardOptions, PlannedUse, ReplayedUpdate, ReplayOptions, StepRequest } from "./requests.js";
import { type NoteSource, Seals } from "./seals.js";
import { WeightStore } from "./store.js";
import { Trace } from "./trace.js";

/** Directions whose updates one visit applies: its transfer costs little beside their noise then. */
const REPLAYED_AT_ONCE = 256;

/** Working out a pending update takes noise for every weight; a flush takes that and one transfer more. */
const APPLIED_AT_MOST = 2;

/**
 * A model on one device: runs passes over it, plans memory for the batches it meets, keeps at most two steps in flight,
 * and carries the updates that are pending.
 *
 * A step's update is applied by every visit of each unit from the next one on, until one of them stores it. Until
 * `commit` the last step counts as not taken: `flush` and `forward` leave its update out, `discard` forgets it.
 */
export class Session {
  private readonly plans: Plans;
  private readonly passes: Passes;
  private readonly log: UpdateLog<NoiseSource>;
  private readonly noise: NoiseTables;
  /** Null where nobody wants to know what is in units that rest in a file. */
  private notes: NoteSource | null = null;
  /** The step state that was used last. */
  private state = -1;
  private queued: Promise<unknown> = Promise.resolve();
  private closing: Promise<void> | null = null;
  private user: string | null = null;
  /** Why nobody trains the model any more; null: it can be. */
  private ended: string | null = null;
  /** Counts the changes of the weights. */
  private changes = 0;
  /** The count at which they were, or became again, those of the checkpoint. */
  private loadedAt = 0;
  private othersAreBase = true;
  /** Forward passes since the last step that have worked out what is pending anew, without storing it. */
  private forwards = 0;

  private constructor(
    private readonly device: Device,
    private readonly queue: Queue,
    /** The wire bytes of every unit, at rest. */
    readonly store: WeightStore,
    private readonly control: Control,
    readonly recording: Recording,
    readonly units: readonly Unit[],
    private readonly options: SessionOptions,
  ) {
    this.log = new UpdateLog(mostPending(units, options));
    this.passes = new Passes(queue, new Seals(device, control.notes), options);
    const idle = () => this.passes.idle();
    this.plans = new Plans(device, queue, store, control, recording, units, options, idle);
    this.noise = new NoiseTables(device, canonicalLength(recording.parameters));
  }

  /** Takes the device over: `dispose` closes it. @throws Zo2Error ZO2_ERR_OUT_OF_MEMORY; the device is closed then */
  static async create(
    device: Device,
    recording: Recording,
    units: readonly Unit[],
    options: SessionOptions,
  ): Promise<Session> {
    try {
      const queue = new Queue(device, options.overlap);
      const tiers = units.map(({ index }) => options.tierOf(index));
      // First: a device allocates in turn, and the store goes on allocating in the background.
      const control = await Control.create(device, queue, stepStates(mostPending(units, options)));
      const store = await WeightStore.create(device, queue, units, tiers, options.disk);
      return new Session(device, queue, store, control, recording, units, options);
    } catch (error) {
      await device.close();
      throw error;
    }
  }

  /** The plan in force; null before the first batch. */
  get plan(): Plan | null {
    return this.plans.active?.plan ?? null;
  }

  /** Whether the weights are those of the checkpoint: no step was taken or replayed since they were read. */
  get untouched(): boolean {
    return this.changes === this.loadedAt;
  }

  /** Whether all but what is an adapter's was written last from the checkpoint: no step changes it under an adapter. */
  get holdsBase(): boolean {
    return this.othersAreBase;
  }

  /** Another number whenever the weights may be others. */
  get revision(): number {
    return this.changes;
  }

  /** Dtype of most matrices at rest. */
  get wire(): WireType {
    return this.options.wire;
  }

  /** How often the device made the JavaScript thread wait. Must be 0. */
  get waits(): number {
    return this.device.waits;
  }

  info(): DeviceInfo {
    return this.device.info();
  }

  /** Times every command from now on. @param o.ops whether a unit's program runs op by op, each timed by itself. */
  trace({ ops = false }: { readonly ops?: boolean } = {}): Trace {
    const trace = new Trace(this.device, this.recording.inputs, ops);
    this.passes.trace = trace;
    return trace;
  }

  /** Times nothing any more from the next command on. */
  endTrace(): void {
    this.passes.trace = null;
  }

  /** Resolves when all that was submitted has run, on every lane: the weights rest. */
  settle(): Promise<void> {
    return this.serialize(() => this.queue.settle());
  }

  /** The plan for these probes of a batch, without allocating anything. @throws Zo2Error ZO2_ERR_MEMORY_BUDGET */
  planForBatch(batch: Batch, probes: readonly Probe[]): Plan {
    return this.plans.planFor(this.plans.needsOf(batch, probes));
  }

  /** The same, or null where it does not fit in the memory that is allowed. */
  planWithinBudget(batch: Batch, probes: readonly Probe[]): Plan | null {
    return this.plans.planWithin(this.plans.needsOf(batch, probes));
  }

  /** Whether the rows of a tied embedding that a batch touches are gathered for it. */
  get gathers(): boolean {
    return this.plans.gathers;
  }

  /** Rows of keys and values that an adapter puts in front of every sequence; 0: there are none. */
  get prefixRows(): number {
    return this.plans.prefixRows;
  }

  /**
   * Puts a plan in force for batches that are to come, so that none of them needs a larger one.
   * @throws Zo2Error ZO2_ERR_MEMORY_BUDGET, ZO2_ERR_OUT_OF_MEMORY
   */
  planAhead(uses: readonly PlannedUse[]): Promise<void> {
    return this.serialize(() =>
      this.plans.ensureAll(uses.map(({ capacity, probes, output }) => this.plans.needsFor(capacity, probes, output))),
    );
  }

  /**
   * A key/value cache of `rows` rows for every attention, on the device where the plan for `prompts` has room for it,
   * else in host memory.
   * @param tier where it has to rest; absent: by plan.
   * @throws Zo2Error ZO2_ERR_MEMORY_BUDGET, ZO2_ERR_OUT_OF_MEMORY
   */
  async createCache(rows: number, prompts: Batch, tier?: CacheTier): Promise<KeyValueCache> {
    const needs = (where: CacheTier): Needs => ({
      ...this.plans.needsOf(prompts, [AT_WEIGHTS], "logits"),
      cache: { tier: where, rows },
    });
    const create = async (where: CacheTier) => {
      // What a plan of another shape holds may be in the way.
      const { plan } = await this.plans.ensure(needs(where));
      return KeyValueCache.create(this.device, where, rows, plan.cache?.bytes ?? 0);
    };
    return this.serialize(async () => {
      if (tier !== undefined) return create(tier);
      if (this.plans.planWithin(needs("device")) === null) return create("host");
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
   * Enqueues one step. `result` resolves when its losses are there; the outer promise when the next step may be
   * enqueued. The step is pending and not committed afterwards.
   * @throws Zo2Error ZO2_ERR_DATA where nothing is labelled; `result` rejects with ZO2_ERR_NOT_FINITE
   */
  step(batch: Batch, request: StepRequest): Promise<{ readonly result: Promise<StepOutcome> }> {
    return this.serialize(async () => {
      const labelled = batch.reduce((sum, b) => sum + labelledCount(b), 0);
      if (labelled === 0) {
        throw new Zo2Error(
          "ZO2_ERR_DATA",
          `step ${request.step}: nothing of the batch carries a label; every example needs one`,
        );
      }
      const { active, data } = await this.prepareStep(batch, request, labelled);
      const { probes, coefficients, rule } = request;
      const counts = { probes: probes.length, directions: rule.differences.length };
      const stores = this.mustStore;
      const note = stores ? this.noteOf(data.pending) : undefined;
      const kind = { probes, stores, yields: "coefficients", state: data.state, coefficients, note } as const;
      const { end } = await this.passes.enqueue(active, kind, data, (back) => readOutcome(back, counts));
      this.applied(data, stores);
      this.leave(request, data);
      return { result: end };
    });
  }

  /**
   * The first half of a step whose losses are computed by the caller: the results of every probe, by micro-batch
   * ([targets], or [headRows x columns]). `finish` is the other half; a step that is left unfinished has no update.
   */
  async probe(batch: Batch, request: StepRequest): Promise<Float32Array[][]> {
    const { end } = await this.serialize(async () => {
      const { active, data } = await this.prepareStep(batch, request, 0);
      const { probes } = request;
      const stores = this.mustStore;
      const note = stores ? this.noteOf(data.pending) : undefined;
      const kind = { probes, stores, yields: "results", state: data.state, note } as const;
      const pass = await this.passes.enqueue(active, kind, data, (back) =>
        probes.map((_, p) => readResults(back, batch, p, active.resultCount)),
      );
      this.applied(data, stores);
      return pass;
    });
    return end;
  }

  /**
   * The second half of a step: the coefficients of these losses, one for each probe, or those given with the request,
   * are pending and not committed afterwards.
   * @throws Zo2Error ZO2_ERR_NOT_FINITE, and there is no update then
   */
  async finish(request: StepRequest, losses: readonly number[]): Promise<StepOutcome> {
    // The losses were computed without an update that is not committed.
    this.log.discard();
    if (this.mustStore) await this.flush();
    return this.serialize(async () => {
      const coefficients = (request.coefficients ?? coefficientsOf(request.rule, losses)).map(Math.fround);
      if (!coefficients.every(Number.isFinite)) {
        throw new StepError(
          request.step,
          `: the losses ${someOf(losses)} give a projected gradient of ${someOf(coefficients)}; the objective must ` +
            "return finite numbers",
        );
      }
      await this.plans.ensure(null);
      const state = this.takeState();
      const perturbation = await this.perturbation(request, state);
      // A failure poisons the lane, and arrives with the next pass.
      this.control.adopt(state, coefficients).catch(() => undefined);
      this.leave(request, { state, perturbation });
      return { losses, coefficients };
    });
  }

  /** From now on these parameters are neither perturbed nor updated. What is committed is applied before. */
  async freeze(frozen: ReadonlySet<Parameter>): Promise<void> {
    await this.flush();
    await this.serialize(() => this.plans.freeze(frozen));
  }

  /**
   * Makes sure that all that may be trained has room on disk where it rests there, so that no step lacks it. Steps and
   * replays do so themselves.
   * @throws Zo2Error ZO2_ERR_OUT_OF_MEMORY, ZO2_ERR_MEMORY_BUDGET
   */
  makeRoom(): Promise<void> {
    return this.serialize(() => this.plans.makeRoom());
  }

  /** The last step counts as taken from now on. */
  commit(): void {
    if (this.log.commit()) this.changes++;
  }

  /** Forgets the last step's update if it was not committed. */
  discard(): void {
    this.log.discard();
  }

  /**
   * Applies the committed updates everywhere, after what is in flight: what rests may be read behind it.
   * @throws Zo2Error ZO2_ERR_NOT_FINITE where one of them goes wrong, and no pass before has said so
   */
  flush(): Promise<void> {
    return this.serialize(async () => {
      const pending = this.log.taken;
      if (pending.length > 0) {
        const active = await this.plans.ensure(null);
        const data: PassData = { kind: "flush", pending, rounding: this.options.rounding };
        const kind = { probes: [], stores: true, yields: null, note: this.noteOf(pending) };
        const { end } = await this.passes.enqueue(active, kind, data, () => undefined);
        this.log.stored(pending.length);
        this.forwards = 0;
        await end;
      }
      // A step in flight may be writing what was committed: nothing else waits for it.
      await this.queue.settle();
    });
  }

  /**
   * Applies updates of steps that were taken before, on this device or another, in their order: to the same bytes as
   * the steps did. Each visit applies up to `REPLAYED_AT_ONCE` of their directions. What is committed is applied
   * before.
   * @param o.units those that lack them, where others have them already.
   * @throws Zo2Error ZO2_ERR_NOT_FINITE naming the step whose update went wrong, ZO2_ERR_OUT_OF_MEMORY, ZO2_ERR_ABORTED
   *   with a part of them applied
   */
  async replay(updates: readonly ReplayedUpdate[], o: ReplayOptions = {}): Promise<void> {
    await this.flush();
    // One that ends amid them leaves some applied.
    if (updates.length > 0) this.changes++;
    const directions = Math.max(1, ...updates.map(({ coefficients }) => coefficients.length));
    const atOnce = Math.max(1, Math.floor(REPLAYED_AT_ONCE / directions));
    await this.serialize(() =>
      this.control.replay(atOnce, async (adopt) => {
        await this.plans.makeRoom();
        const active = await this.plans.ensure(null);
        for (let done = 0; done < updates.length; ) {
          if (o.signal?.aborted === true) {
            throw new Zo2Error("ZO2_ERR_ABORTED", `the replay was stopped after ${done} of ${updates.length} steps`, {
              cause: o.signal.reason,
            });
          }
          const part = updates.slice(done, done + atOnce);
          const first = adopt(part.map(({ coefficients }) => coefficients));
          const pending = part.map(({ coefficients, noise, ...update }, i) => ({
            ...update,
            ...{ noise: drawnSource(noise), state: first + i, directions: coefficients.length },
          }));
          const data: PassData = { kind: "flush", pending, rounding: this.options.rounding };
          const last = done + part.length === updates.length;
          const note = o.note === undefined || !last ? undefined : Promise.resolve(o.note);
          const kind = { probes: [], stores: true, yields: null, only: o.units, note };
          const { end } = await this.passes.enqueue(active, kind, data, () => undefined);
          await end;
          done += part.length;
          o.onProgress?.(done);
        }
      }),
    );
  }

  /**
   * Puts other weights in the place of all that are there, behind what is in flight; what was pending is forgotten.
   * @param isBase whether these are the weights of the checkpoint.
   * @param fill writes `units`.
   * @param units absent: all.
   * @throws Zo2Error ZO2_ERR_OUT_OF_MEMORY, ZO2_ERR_MEMORY_BUDGET where others have no room on disk; nothing is changed
   */
  async rewrite(isBase: boolean, fill: () => Promise<void>, units?: readonly number[]): Promise<void> {
    await this.serialize(async () => {
      await this.passes.idle();
      await this.queue.settle();
      if (!isBase) await this.store.makeRoom(units ?? this.units.map(({ index }) => index));
      this.changes++;
      this.log.clear();
      this.forwards = 0;
      // Under an adapter no step changes the others.
      const others = units?.every((unit) => isAdapterUnit(at(this.units, unit))) !== true;
      if (others) this.othersAreBase = false;
      await fill();
      if (others) this.othersAreBase = isBase;
      if (isBase) this.loadedAt = this.changes;
    });
  }

  /**
   * One forward pass, with every committed update. Resolves with the result of each micro-batch: its log-probabilities
   * [targets], or logits [headRows x columns].
   *
   * It stores nothing: pending updates are worked out in scratch. After `APPLIED_AT_MOST` such passes a flush is
   * cheaper than the next one.
   */
  async forward(batch: Batch, { output, cache, probe }: ForwardOptions = {}): Promise<Float32Array[]> {
    if (this.forwards >= APPLIED_AT_MOST) await this.flush();
    const { end } = await this.serialize(async () => {
      const probes = [probe?.at ?? AT_WEIGHTS];
      const active = await this.plans.ensure({
        ...this.plans.needsOf(batch, probes, output),
        cache: cache === undefined ? null : { tier: cache.cache.tier, rows: cache.cache.rows },
      });
      const pending = this.log.taken;
      if (pending.length > 0) this.forwards++;
      const data: PassData = {
        ...{ kind: "forward", batch: this.fronted(batch), probes: 1, pending },
        table: this.plans.tableOf(batch),
        rounding: this.options.rounding,
        perturbation: probe === undefined ? null : await this.perturbation(probe.of, this.nextState()),
        cache: cache === undefined ? null : { buffer: cache.cache.buffer, used: cache.used, added: cache.added },
      };
      const kind = { probes, stores: false, yields: "results", cache } as const;
      return this.passes.enqueue(active, kind, data, (back) => readResults(back, batch, 0, active.resultCount));
    });
    return end;
  }

  /** Whom to ask, from now on, what is in units that are written to a file. */
  seal(notes: NoteSource | null): void {
    this.notes = notes;
  }

  /** Clears the flags that an update which went wrong has left. */
  clearSticky(): Promise<void> {
    return this.serialize(async () => {
      await this.plans.ensure(null);
      this.passes.forgetFailure();
      // A failure poisons the lane, and arrives with the next pass.
      this.control.clearSticky().catch(() => undefined);
    });
  }

  /** From now on `reserve` refuses: the weights stay as they are. @param why with what to do instead */
  retire(why: string): void {
    this.ended = why;
  }

  get retired(): boolean {
    return this.ended !== null;
  }

  /**
   * Keeps others from training the model until what is returned is called.
   * @throws Zo2Error ZO2_ERR_BUSY, and ZO2_ERR_INVALID_ARGUMENT for one that is retired
   */
  reserve(user: string): () => void {
    this.checkOpen();
    if (this.ended !== null) throw new Zo2Error("ZO2_ERR_INVALID_ARGUMENT", `${user}: ${this.ended}`);
    if (this.user !== null) {
      throw new Zo2Error(
        "ZO2_ERR_BUSY",
        `the model is being trained by ${this.user}; wait for its loop to end, or leave it`,
      );
    }
    this.user = user;
    return () => {
      this.user = null;
    };
  }

  /** @throws Zo2Error ZO2_ERR_DISPOSED */
  checkOpen(): void {
    if (this.closing !== null) throw new Zo2Error("ZO2_ERR_DISPOSED", "the model was disposed; load it again");
  }

  /** Waits for what is in flight, frees everything and closes the device. A second call waits for the first. */
  dispose(): Promise<void> {
    this.closing ??= this.close();
    return this.closing;
  }

  private async close(): Promise<void> {
    await this.queued;
    await this.passes.idle();
    this.plans.dispose();
    this.noise.dispose();
    this.control.dispose();
    this.store.dispose();
    this.queue.dispose();
    await this.device.close();
  }

  /** One piece of work after another: each sees the plan, and what is pending, as the one before left them. */
  private async serialize<T>(work: () => Promise<T>): Promise<T> {
    this.checkOpen();
    const result = this.queued.then(work);
    this.queued = result.catch(() => undefined);
    return result;
  }

  /** Of what a pass stores; the last of it is known when all of it is. */
  private noteOf(pending: readonly PendingUpdate<NoiseSource>[]): Promise<Uint8Array | null> | undefined {
    const last = pending.at(-1);
    return last === undefined ? undefined : this.notes?.noteOf(last.step);
  }

  /** Whether what is pending has to be stored. Where no unit moves, storing it costs no transfer. */
  private get mustStore(): boolean {
    return this.log.full || (this.log.all.length > 0 && !this.plans.moves);
  }

  /** A plan for a step's probes, and the numbers behind their pass, which takes along what is pending. */
  private async prepareStep(
    batch: Batch,
    request: StepRequest,
    labelled: number,
  ): Promise<{ readonly active: Active; readonly data: StepData }> {
    await this.plans.makeRoom();
    const active = await this.plans.ensure(this.plans.needsOf(batch, request.probes));
    const state = this.takeState();
    const data: StepData = {
      ...{ kind: "step", batch: this.fronted(batch), state, labelled, rule: request.rule },
      probes: request.probes.length,
      table: this.plans.tableOf(batch),
      pending: this.log.all,
      rounding: this.options.rounding,
      perturbation: await this.perturbation(request, state),
    };
    return { active, data };
  }

  /** With what an adapter puts in front of sequences; passes over a cache say themselves where that goes. */
  private fronted(batch: Batch): Batch {
    const { prefixRows } = this;
    if (prefixRows === 0) return batch;
    return batch.map((micro) => (micro.cacheRows === undefined ? withPrefix(micro, prefixRows) : micro));
  }

  /** A step works with all that is pending, and so takes it; what it stores is on its way into the weights. */
  private applied({ pending }: StepData, stores: boolean): void {
    this.commit();
    if (stores) this.log.stored(pending.length);
    this.forwards = 0;
  }

  /** The state that comes next of those that no pending update needs. */
  private nextState(): number {
    const needed = this.log.all.map(({ state }) => state);
    const count = this.control.layout.states.length;
    let state = (this.state + 1) % count;
    while (needed.includes(state)) state = (state + 1) % count;
    return state;
  }

  private takeState(): number {
    this.state = this.nextState();
    return this.state;
  }

  private leave(
    { seed, step, rule, learningRate, weightDecay }: StepRequest,
    { state, perturbation }: Pick<StepData, "state" | "perturbation">,
  ): void {
    const directions = rule.differences.length;
    this.log.add({ seed, step, noise: perturbation.noise, state, directions, learningRate, weightDecay });
  }

  private async perturbation({ seed, step, eps, noise }: Direction, state: number): Promise<Perturbation> {
    return { seed, step, eps, noise: await this.noise.source(noise, state) };
  }
}

/** The first of them. */
function someOf(numbers: readonly number[]): string {
  return `${numbers.slice(0, 4).join(" and ")}${numbers.length > 4 ? " and others" : ""}`;
}

/** Updates that may wait to be stored, wherever units will rest. */
function mostPending(units: readonly Unit[], { tierOf, arrange, writeBackEvery }: SessionOptions): number {
  return arrange !== undefined || units.some(({ index }) => tierOf(index) !== "device") ? writeBackEvery : 1;
}
