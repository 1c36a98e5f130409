import { noiseOf } from "../config/methods/index.js";
import { parseOptions } from "../config/parse.js";
import {
  stepsToDrop,
  trainerOptionsSchema,
  type ResolvedTrainerOptions,
  type TrainerOptions,
} from "../config/trainer.js";
import type { CheckProgress, EncodedExample, Example } from "../data/index.js";
import { labelledCount } from "../data/batch.js";
import { isZo2Error, Zo2Error } from "../base/errors.js";
import { emitWarning, type Warning } from "../base/warnings.js";
import type { StepRequest } from "../device/requests.js";
import { packGroups } from "../infer/batching.js";
import { type Evaluation, evaluateSource } from "../infer/evaluate.js";
import { checkLength } from "../infer/limits.js";
import type { DataSource } from "../infer/source.js";
import { type Loaded, loadedOf } from "../loaded.js";
import { STEPS_IN_FLIGHT } from "../memory/control.js";
import {
  learningRateAt,
  type MethodReport,
  type MethodStep,
  reportOf,
  StepError,
  type StepOutcome,
  stepOf,
} from "../method/index.js";
import type { Model } from "../model.js";
import { readRun } from "../journal/read-run.js";
import type { StepRecord } from "../journal/record.js";
import type { RestoreOptions } from "../run/restore.js";
import { bestOf, droppedWarning, optionsOf, Run } from "../run/run.js";
import { matchParameters } from "../models/match-parameters.js";
import { StepLanes } from "../timeline/step-lanes.js";
import { chooseRate } from "./choose-rate.js";
import { type Divergence, Guards } from "./guards.js";
import { LostUpdates } from "./lost-updates.js";
import { objectiveStep } from "./objective-step.js";
import { BatchOrder } from "./order.js";
import { doubtfulRate, rateOf, withRate, withRateOf } from "./rate.js";
import type { RateChoice } from "./rate-rule.js";
import {
  type CheckedData,
  evaluationLimits,
  fingerprintOfRun,
  openRunData,
  planRun,
  type RunData,
  runLimits,
} from "./run-data.js";

/** One step that was taken. */
export interface Step extends MethodReport {
  /** From 0. */
  readonly index: number;
  /** The rate with which this step's update is applied. */
  readonly learningRate: number;
  readonly examples: number;
  /** Labelled tokens, or examples with choices: what the loss is a mean of. */
  readonly labelled: number;
  /** Tokens that went through the model, each once per forward pass of a probe. */
  readonly tokens: number;
  /** Since the previous step ended. */
  readonly seconds: number;
  readonly tokensPerSecond: number;
  /** Device memory in use. */
  readonly deviceBytes: number;
}

/** What an evaluation during training came to. */
export interface TrainingEvaluation extends Evaluation {
  /** Steps taken before it. */
  readonly step: number;
  /** Whether it is the best so far: by accuracy where there are choices (ties go to the lower loss), else by loss. */
  readonly best: boolean;
}

export interface FitOptions {
  readonly signal?: AbortSignal;
  /** Told now and then how far the check of the data has come. */
  readonly onCheck?: (progress: CheckProgress) => void;
  /**
   * Awaited before the first step, when the data was checked and memory planned for it; not with `checkData: false`.
   */
  readonly onChecked?: (data: CheckedData) => void | Promise<void>;
  /** Sees what is unusual about a run that goes on. @default `process.emitWarning` */
  readonly onWarning?: (warning: Warning) => void;
  /** Awaited before training goes on: a good place to save the model. */
  readonly onEvaluation?: (evaluation: TrainingEvaluation) => void | Promise<void>;
  /** Sees what a learning rate of `"auto"` has become, and why. */
  readonly onLearningRate?: (choice: RateChoice) => void;
  /** Sees each snapshot that has been written. */
  readonly onSnapshot?: (snapshot: Snapshot) => void;
}

/** Weights that were kept amid a run. */
export interface Snapshot {
  /** Steps taken before it. */
  readonly step: number;
  readonly dir: string;
  readonly seconds: number;
}

interface InFlight {
  readonly index: number;
  readonly learningRate: number;
  readonly examples: number;
  readonly labelled: number;
  readonly tokens: number;
  readonly result: Promise<StepOutcome>;
}

/** What one `fit` works with. */
interface Fit {
  readonly loaded: Loaded;
  readonly run: RunData;
  /** What writes the run down; null where nothing is to be kept. */
  readonly kept: Run | null;
  readonly lost: LostUpdates | null;
  readonly lanes: StepLanes | null;
  /** Whether it was said that a step was skipped. */
  saidSkipped: boolean;
  /** Steps that were enqueued and not yielded, oldest first. */
  readonly inFlight: InFlight[];
  readonly o: FitOptions;
}

/**
 * Fine-tunes a model with forward passes only: the loss where the weights stand eps away from their place along random
 * directions says how far to go along each; option `method` says where exactly, and how (docs/methods.md). The weights
 * are never moved there: W+ and W- are made beside them, and one transfer of each weight serves all of them.
 */
export class Trainer {
  private resolved: ResolvedTrainerOptions;
  private taken = 0;
  private best: BestEvaluation | null = null;
  /** Steps that had been taken at the last evaluation. */
  private evaluatedAt = 0;
  private guards: Guards;
  /** What every step is. */
  private readonly method: MethodStep;
  /** Why no more steps can be taken on the weights that there are. */
  private broken: Zo2Error | null = null;

  /** @throws Zo2Error ZO2_ERR_CONFIG naming every option that is wrong, ZO2_ERR_LENGTH past the model's positions */
  constructor(
    readonly model: Model,
    options: TrainerOptions,
  ) {
    this.resolved = parseOptions(trainerOptionsSchema, options, "trainer options");
    checkLength(this.options.maxLength, model.maxPositions);
    matchParameters(model.parameters, this.options.freeze);
    this.guards = new Guards(this.lossesFrom);
    this.method = stepOf(this.options.method);
  }

  /**
   * As they were parsed; from the first step on with what is chosen before it: a learning rate that was `"auto"`, and
   * `microBatchSize` where not all of a batch has room.
   */
  get options(): ResolvedTrainerOptions {
    return this.resolved;
  }

  /**
   * Goes on with the run that a folder keeps, where its journal ends: rebuilds the weights on a model that was just
   * loaded from the run's base, and takes the options from the journal. What may change from session to session
   * (steps, evaluation, micro-batches), and what no file can hold (an objective), is given anew.
   *
   * `fit` with the run's data continues to the same bits as if it had never been interrupted, on the same kind of
   * device with units that are cut alike; else it says that rounding may differ from here on.
   * @throws Zo2Error ZO2_ERR_JOURNAL naming what does not fit; ZO2_ERR_IO
   */
  static async resume(
    model: Model,
    dir: string,
    options: Partial<TrainerOptions> = {},
    o: RestoreOptions = {},
  ): Promise<Trainer> {
    let journal = await readRun(dir, { resuming: true });
    const trainer = new Trainer(model, { ...optionsOf(journal), ...options, run: dir });
    const loaded = loadedOf(model);
    const release = loaded.session.reserve("Trainer.resume");
    try {
      journal = await Run.restore(loaded, dir, journal, stepsToDrop(trainer.options.onDivergence), o);
    } finally {
      release();
    }
    trainer.resolved = withRateOf(trainer.options, journal);
    trainer.taken = journal.steps.length;
    trainer.best = bestOf(journal);
    trainer.evaluatedAt = journal.evaluations.at(-1)?.step ?? 0;
    trainer.guards = Guards.of(trainer.lossesFrom, journal);
    return trainer;
  }

  /** Steps that were taken so far. */
  get stepsTaken(): number {
    return this.taken;
  }

  /**
   * Takes the steps that are left, and yields each once its losses are there. When a step has been yielded, evaluation
   * and saving include its update, and not that of the next one, which may be on the device already. Leaving the loop
   * early keeps the steps that were yielded; another `fit` goes on from there.
   *
   * All of the data is read and checked before the first step, with that of the evaluation, and memory is planned for
   * the longest batch.
   *
   * A step at which a guard speaks (see option `onDivergence`) is not yielded: it ends the run, or does not count.
   *
   * @throws Zo2Error ZO2_ERR_ABORTED after the steps in flight were yielded, ZO2_ERR_NOT_FINITE and ZO2_ERR_DIVERGED
   *   naming the step, DataError (ZO2_ERR_DATA, ZO2_ERR_LENGTH, ZO2_ERR_TOKENIZER) naming the lines that cannot be used
   */
  async *fit(data: DataSource, o: FitOptions = {}): AsyncGenerator<Step, void, undefined> {
    if (this.broken !== null) throw this.broken;
    const loaded = loadedOf(this.model);
    const { session } = loaded;
    const release = session.reserve("a Trainer");
    try {
      await using run = await openRunData(loaded, this.options, data, { signal: o.signal, onCheck: o.onCheck });
      await this.setUp(loaded, run, o);
      await using kept = await this.keep(loaded, run, data, o);
      const lost = await this.losing(loaded);
      using lanes = this.lanesOf(loaded);
      if (run.checked !== null) await o.onChecked?.(run.checked);
      yield* this.leaving({ loaded, run, kept, lost, lanes, saidSkipped: false, inFlight: [], o });
    } finally {
      release();
    }
  }

  /** The steps; however they end, nothing is in flight then, and the weights are those of the steps that count. */
  private async *leaving(fit: Fit): AsyncGenerator<Step, void, undefined> {
    const { loaded, kept, inFlight } = fit;
    let whole = true;
    try {
      yield* this.steps(fit);
    } catch (error) {
      whole = isZo2Error(error) && error.code === "ZO2_ERR_ABORTED";
      throw error;
    } finally {
      // First: what is in flight may wait for the record of a step that does not come.
      kept?.giveUp();
      await Promise.allSettled(inFlight.map((s) => s.result));
      // Steps that were not yielded do not count: their update is forgotten, and their batches come again.
      loaded.session.discard();
      await kept?.leave(whole);
    }
  }

  /** Readies the session for the steps that are to come. */
  private async setUp(loaded: Loaded, run: RunData, o: FitOptions): Promise<void> {
    const { session, parameters } = loaded;
    const { signal } = o;
    await session.freeze(matchParameters(parameters, this.options.freeze));
    await session.makeRoom();
    await session.clearSticky();
    // What was chosen for the first steps stays: with other passes, sums may be rounded otherwise.
    const microBatchSize = await planRun(loaded, this.options, run, this.method.probes, this.taken, signal);
    if (microBatchSize !== undefined) this.resolved = Object.freeze({ ...this.options, microBatchSize });
    await this.settleRate(loaded, run, o);
  }

  /** Chooses the learning rate, where it was left to that; a rate that was chosen stays. */
  private async settleRate(
    loaded: Loaded,
    { training }: RunData,
    { signal, onLearningRate, onWarning = emitWarning }: FitOptions,
  ): Promise<void> {
    if (this.options.method.learningRate !== "auto" || training.kind !== "loss") return;
    const choice = await chooseRate(loaded, this.options, training.source, signal);
    this.resolved = withRate(this.options, choice.learningRate);
    onLearningRate?.(choice);
    if (!choice.agree) onWarning(doubtfulRate(choice));
  }

  private losing(loaded: Loaded): Promise<LostUpdates | null> {
    const { freeze, method } = this.options;
    const frozen = matchParameters(loaded.parameters, freeze);
    const trained = loaded.parameters.filter((parameter) => !frozen.has(parameter));
    return LostUpdates.of(loaded, trained, noiseOf(method));
  }

  /** What keeps the lanes of a step; null where nothing is kept, or the caller's objective cuts steps in two. */
  private lanesOf({ session, options }: Loaded): StepLanes | null {
    const { run: dir, objective } = this.options;
    if (dir === undefined || objective !== undefined) return null;
    return new StepLanes(session, dir, options.offload.overlap);
  }

  /** What writes the run down; null where nothing is to be kept. */
  private async keep(
    loaded: Loaded,
    { training }: RunData,
    data: DataSource,
    { signal, onWarning = emitWarning }: FitOptions,
  ): Promise<Run | null> {
    const { run: dir } = this.options;
    if (dir === undefined) return null;
    const described = await fingerprintOfRun(training, data, signal);
    return Run.open(dir, loaded, this.options, described, this.taken, onWarning);
  }

  private async *steps(fit: Fit): AsyncGenerator<Step, void, undefined> {
    const { loaded, run, kept, lost, lanes, inFlight, o } = fit;
    const { session } = loaded;
    const { onWarning = emitWarning } = o;
    const { steps, deferredUpdate, objective, snapshots } = this.options;
    const enqueue = this.enqueuing(loaded, run, lanes);
    // The caller's objective needs the probes of a step before its coefficients exist, and so before the next step.
    const depth = deferredUpdate && objective === undefined ? STEPS_IN_FLIGHT : 1;
    let next = this.taken;
    // One that the end of another process came before.
    if (this.taken > this.evaluatedAt && this.evaluates(this.taken)) await this.evaluate(fit);
    let last = performance.now();
    while (this.taken < steps) {
      while (
        inFlight.length < depth &&
        next < steps &&
        o.signal?.aborted !== true &&
        !this.evaluatesBefore(next, inFlight)
      ) {
        inFlight.push(await enqueue(next));
        next++;
      }
      const step = inFlight[0];
      if (step === undefined)
        throw new Zo2Error("ZO2_ERR_ABORTED", `training was stopped after ${this.taken} of ${steps} steps`, {
          cause: o.signal?.reason,
        });
      const { outcome, divergence } = await this.judged(step);
      if (divergence !== null) {
        lanes?.interrupt();
        await this.drop(fit, step, outcome, divergence);
        next = this.taken;
      } else {
        inFlight.shift();
        this.taken++;
        if (inFlight.length === 0) session.commit();
        // What was yielded stands in the journal.
        await kept?.step(recordOf(step, outcome));
        const warning = lost?.note(outcome.coefficients, step.learningRate) ?? null;
        if (warning !== null) onWarning(warning);
        const unkept = await lanes?.keep(step.index);
        if (unkept != null) onWarning(unkept);
        if (!deferredUpdate) await session.flush();
        const now = performance.now();
        const report = this.report(step, outcome, (now - last) / 1000);
        if (report.skipped && !fit.saidSkipped) {
          fit.saidSkipped = true;
          onWarning(skippedWarning(report));
        }
        yield report;
      }
      const evaluates = this.evaluates(this.taken);
      const keeps = snapshots !== undefined && this.taken % snapshots.every === 0;
      if (evaluates || keeps) lanes?.interrupt();
      if (evaluates) await this.evaluate(fit);
      if (keeps) await this.snapshot(fit, snapshots.keep);
      last = performance.now();
    }
  }

  /** What a step came to, and what is wrong with it. */
  private async judged({ index, result }: InFlight): Promise<{ outcome: StepOutcome; divergence: Divergence | null }> {
    try {
      const outcome = await result;
      const divergence = this.guards.judge(outcome, index);
      const counts = divergence?.guard !== "not-finite" && this.options.onDivergence === "ignore";
      return { outcome, divergence: counts ? null : divergence };
    } catch (error) {
      if (!(error instanceof StepError)) throw error;
      const { probes, rule } = this.method;
      const outcome = { losses: probes.map(() => Number.NaN), coefficients: rule.differences.map(() => Number.NaN) };
      return { outcome, divergence: { guard: "not-finite", since: error.step, error } };
    }
  }

  /** Ends the run before a step that has gone wrong, or goes on as if it and some before it had changed nothing. */
  private async drop(
    { loaded, run, kept, inFlight, o }: Fit,
    step: InFlight,
    outcome: StepOutcome,
    { guard, since, error }: Divergence,
  ): Promise<void> {
    const { index } = step;
    const { onWarning = emitWarning } = o;
    const drops = stepsToDrop(this.options.onDivergence);
    const vain = drops > 0 && this.guards.inVain(index);
    if (drops === 0 || kept === null || vain) {
      // The update of one that is finite may be in the weights, with the step behind it.
      if (guard !== "not-finite") this.broken = error;
      throw vain ? inVain(error) : error;
    }
    kept.giveUp();
    await Promise.allSettled(inFlight.map(({ result }) => result));
    inFlight.length = 0;
    const record = { step: index, count: Math.min(index + 1, Math.max(drops, index - since + 1)), guard };
    // Until the weights are rebuilt they are of no use: no signal stops that.
    this.broken = error;
    await kept.drop(record, recordOf(step, outcome), { onWarning });
    this.broken = null;
    this.taken = index + 1;
    this.guards.dropped(record);
    onWarning(droppedWarning(error, record));
    await this.setUp(loaded, run, o);
  }

  private async snapshot({ kept, o: { onSnapshot, onWarning = emitWarning } }: Fit, keep: number): Promise<void> {
    if (kept === null) return;
    const begun = performance.now();
    try {
      const dir = await kept.snapshot(this.taken, keep);
      onSnapshot?.({ step: this.taken, dir, seconds: (performance.now() - begun) / 1000 });
    } catch (error) {
      if (!isZo2Error(error) || error.code !== "ZO2_ERR_IO") throw error;
      onWarning({
        code: "ZO2_WARN_SNAPSHOT",
        message: `the snapshot after step ${this.taken} was not written: ${error.message}; the journal has every step`,
      });
    }
  }

  private get lossesFrom(): "model" | "caller" {
    return this.options.objective === undefined ? "model" : "caller";
  }

  /** What puts step `index` on the device; steps come in ascending order. */
  private enqueuing(
    loaded: Loaded,
    { training }: RunData,
    lanes: StepLanes | null,
  ): (index: number) => Promise<InFlight> {
    const { seed, batchSize } = this.options;
    if (training.kind === "loss") {
      const order = new BatchOrder(training.source, seed, batchSize);
      return async (index) => this.enqueueLoss(loaded, index, await order.batch(index), lanes);
    }
    const order = new BatchOrder(training.dataset, seed, batchSize);
    return async (index) => this.enqueueObjective(loaded, index, await order.batch(index));
  }

  private async enqueueObjective(loaded: Loaded, index: number, examples: readonly Example[]): Promise<InFlight> {
    const { objective } = this.options;
    if (objective === undefined) throw new Error("prompts without an objective");
    const request = this.request(index);
    const limits = runLimits(loaded, this.options);
    const common = { index, learningRate: request.learningRate, examples: examples.length, labelled: examples.length };
    try {
      const step = await objectiveStep(loaded, objective, examples, limits, request);
      return { ...common, result: Promise.resolve(step.outcome), tokens: step.tokens };
    } catch (error) {
      if (!(error instanceof StepError)) throw error;
      // It is awaited in its turn; until then a failure must not count as unhandled.
      const result = Promise.reject(error);
      result.catch(() => undefined);
      return { ...common, result, tokens: 0 };
    }
  }

  private async enqueueLoss(
    loaded: Loaded,
    index: number,
    examples: readonly EncodedExample[],
    lanes: StepLanes | null,
  ): Promise<InFlight> {
    const request = this.request(index);
    const { reduction } = this.options;
    const batch = packGroups(examples, { reduction, limits: runLimits(loaded, this.options).limits });
    const step = () => loaded.session.step(batch, request);
    const { result } = lanes === null ? await step() : await lanes.enqueue(index, batch, request, step);
    // It is awaited in its turn; until then a failure must not count as unhandled.
    result.catch(() => undefined);
    return {
      ...{ index, learningRate: request.learningRate, examples: examples.length },
      result,
      labelled: batch.reduce((sum, b) => sum + labelledCount(b), 0),
      tokens: batch.reduce((sum, b) => sum + b.tokens.length, 0),
    };
  }

  private request(step: number): StepRequest {
    const { method, steps, seed, test } = this.options;
    const { eps, weightDecay, schedule } = method;
    const injected = test?.projectedGradient?.(step);
    return {
      ...{ step, seed, eps, weightDecay },
      ...this.method,
      learningRate: learningRateAt(rateOf(this.options), schedule, step, steps),
      noise: test?.noise === undefined ? noiseOf(method) : { z: test.noise(step) },
      coefficients: typeof injected === "number" ? [injected] : injected,
    };
  }

  private report({ result: _, index, ...step }: InFlight, outcome: StepOutcome, seconds: number): Step {
    return {
      index,
      ...reportOf(this.method, outcome),
      ...step,
      seconds,
      tokensPerSecond: step.tokens / seconds,
      deviceBytes: this.model.deviceInfo().deviceBytes,
    };
  }

  /** The best evaluation so far; null before the first. */
  get bestEvaluation(): BestEvaluation | null {
    return this.best;
  }

  private evaluates(taken: number): boolean {
    const { evaluation, steps } = this.options;
    return evaluation !== undefined && (taken === steps || taken % evaluation.every === 0);
  }

  /** Whether an evaluation stands between the steps in flight and step `next`, so that `next` has to wait for it. */
  private evaluatesBefore(next: number, inFlight: readonly InFlight[]): boolean {
    return inFlight.length > 0 && this.evaluates(next);
  }

  private async evaluate({ loaded, run: { evaluation: source }, kept, o }: Fit): Promise<void> {
    const { evaluation, reduction } = this.options;
    if (evaluation === undefined || source === null) return;
    const { session, definition } = loaded;
    const { batchSize } = evaluation;
    const settings = { batchSize, reduction, limits: evaluationLimits(loaded, this.options) };
    const result = await evaluateSource(session, definition.head, source, settings, o.signal);
    const best = this.best === null || isBetter(result, this.best);
    const { loss, accuracy, examples } = result;
    if (best) this.best = { step: this.taken, loss, accuracy };
    await o.onEvaluation?.({ ...result, step: this.taken, best });
    // Behind what the caller does, such as saving the best weights: a run that ends amid that does it again.
    await kept?.evaluation({ step: this.taken, loss, accuracy, examples, best });
    this.evaluatedAt = this.taken;
  }
}

function recordOf({ index, learningRate, labelled }: InFlight, { losses, coefficients }: StepOutcome): StepRecord {
  return { step: index, coefficients, learningRate, shards: [{ labelled, losses }] };
}

function skippedWarning({ index, lossPlus, coefficients }: Step): Warning {
  return {
    code: "ZO2_WARN_SKIPPED_STEP",
    message:
      `step ${index}: the losses along all ${coefficients.length} directions are ${lossPlus}, so that none is better ` +
      "than another: the step goes along none, and so will others like it, which are not told of; where there are " +
      "many, raise eps, use fp32 or bf16 as dtype and wire, or give an objective that takes more values",
  };
}

function inVain(error: Zo2Error): Zo2Error {
  return new Zo2Error(
    error.code,
    `${error.message}; dropping steps again and again does not help: begin another run on this one's weights, with ` +
      "another learning rate or eps, or look at the data",
    { cause: error },
  );
}

/** The best evaluation of a run, whichever process made it. */
export type BestEvaluation = Pick<TrainingEvaluation, "step" | "accuracy" | "loss">;

function isBetter(a: Pick<Evaluation, "accuracy" | "loss">, b: BestEvaluation): boolean {
  if (a.accuracy !== null && b.accuracy !== null && a.accuracy !== b.accuracy) return a.accuracy > b.accuracy;
  return a.loss < b.loss;
}
