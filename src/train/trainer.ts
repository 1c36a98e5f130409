import { parseOptions } from "../config/parse.js";
import { trainerOptionsSchema, type ResolvedTrainerOptions, type TrainerOptions } from "../config/trainer.js";
import type { Dataset, Example } from "../data/index.js";
import { labelledCount } from "../data/batch.js";
import { Zo2Error } from "../base/errors.js";
import type { StepRequest } from "../device/session.js";
import { encodeBatch } from "../infer/batching.js";
import type { Evaluation } from "../infer/evaluate.js";
import { checkLength, microBatchTokens } from "../infer/limits.js";
import { type DataSource, openSource } from "../infer/source.js";
import { type Loaded, loadedOf } from "../loaded.js";
import { STEPS_IN_FLIGHT } from "../memory/control.js";
import { learningRateAt, METHODS, type MethodReport, type StepOutcome } from "../method/index.js";
import type { Model } from "../model.js";
import { matchParameters } from "../models/match-parameters.js";
import { objectiveStep } from "./objective-step.js";
import { BatchOrder } from "./order.js";

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
  /** Awaited before training goes on: a good place to save the model. */
  readonly onEvaluation?: (evaluation: TrainingEvaluation) => void | Promise<void>;
}

interface InFlight {
  readonly index: number;
  readonly learningRate: number;
  readonly examples: number;
  readonly labelled: number;
  readonly tokens: number;
  readonly result: Promise<StepOutcome>;
}

/**
 * Fine-tunes a model with MeZO-SGD (arXiv 2305.17333): two forward passes a step, in which the weights stand eps to
 * either side of their place along a random direction. The weights are never moved there: W+ and W- are made beside
 * them.
 */
export class Trainer {
  readonly options: ResolvedTrainerOptions;
  private taken = 0;
  private best: Evaluation | null = null;

  /** @throws Zo2Error ZO2_ERR_CONFIG naming every option that is wrong, ZO2_ERR_LENGTH past the model's positions */
  constructor(
    readonly model: Model,
    options: TrainerOptions,
  ) {
    this.options = parseOptions(trainerOptionsSchema, options, "trainer options");
    checkLength(this.options.maxLength, model.maxPositions);
    matchParameters(model.parameters, this.options.freeze);
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
   * @throws Zo2Error ZO2_ERR_ABORTED after the steps in flight were yielded, ZO2_ERR_NOT_FINITE naming the step,
   *   ZO2_ERR_DATA naming the line
   */
  async *fit(data: DataSource, o: FitOptions = {}): AsyncGenerator<Step, void, undefined> {
    const loaded = loadedOf(this.model);
    const { session, parameters, definition } = loaded;
    const { template, objective, freeze } = this.options;
    const release = session.reserve("a Trainer");
    const inFlight: InFlight[] = [];
    try {
      const { vocabSize, head } = definition;
      const prompts = objective !== undefined;
      await using source = await openSource(data, { vocabSize, head, template, prompts });
      try {
        await session.freeze(matchParameters(parameters, freeze));
        await session.clearSticky();
        yield* this.steps(loaded, source.dataset, inFlight, o);
      } finally {
        // Steps that were not yielded do not count: their update is forgotten, and their batches come again.
        await Promise.allSettled(inFlight.map((s) => s.result));
        session.discard();
      }
    } finally {
      release();
    }
  }

  private async *steps(
    loaded: Loaded,
    dataset: Dataset,
    inFlight: InFlight[],
    o: FitOptions,
  ): AsyncGenerator<Step, void, undefined> {
    const { session } = loaded;
    const { steps, batchSize, seed, deferredUpdate, objective } = this.options;
    const order = new BatchOrder(dataset, seed, batchSize);
    // The caller's objective needs the probes of a step before its coefficients exist, and so before the next step.
    const depth = deferredUpdate && objective === undefined ? STEPS_IN_FLIGHT : 1;
    let next = this.taken;
    let last = performance.now();
    while (this.taken < steps) {
      while (
        inFlight.length < depth &&
        next < steps &&
        o.signal?.aborted !== true &&
        !this.evaluatesBefore(next, inFlight)
      ) {
        inFlight.push(await this.enqueue(loaded, next, await order.batch(next)));
        next++;
      }
      const step = inFlight[0];
      if (step === undefined)
        throw new Zo2Error("ZO2_ERR_ABORTED", `training was stopped after ${this.taken} of ${steps} steps`, {
          cause: o.signal?.reason,
        });
      const outcome = await step.result;
      inFlight.shift();
      this.taken++;
      if (inFlight.length === 0) session.commit();
      if (!deferredUpdate) await session.flush();
      const now = performance.now();
      yield this.report(step, outcome, (now - last) / 1000);
      last = performance.now();
      if (this.evaluates(this.taken)) {
        await this.evaluate(o);
        last = performance.now();
      }
    }
  }

  private async enqueue(loaded: Loaded, index: number, examples: readonly Example[]): Promise<InFlight> {
    const { session, tokenizer, definition, options } = loaded;
    const { truncation, reduction, objective, batchSize, microBatchSize } = this.options;
    const { vocabSize } = definition;
    const maxLength = checkLength(this.options.maxLength, definition.maxPositions);
    const tokens = microBatchTokens(options.maxTokens, maxLength);
    const limits = { items: microBatchSize ?? batchSize, tokens };
    const request = this.request(index);
    const { learningRate } = request;
    const about = { index, learningRate, examples: examples.length };
    if (objective !== undefined) {
      const { sides } = METHODS[this.options.method.name];
      const step = await objectiveStep(loaded, objective, examples, { maxLength, limits }, request, sides);
      return { ...about, result: Promise.resolve(step.outcome), labelled: examples.length, tokens: step.tokens };
    }
    const batch = encodeBatch(tokenizer, examples, { limits, maxLength, truncation, reduction, vocabSize });
    const { result } = await session.step(batch, request);
    // It is awaited in its turn; until then a failure must not count as unhandled.
    result.catch(() => undefined);
    return {
      ...about,
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
      ...METHODS[method.name].step(method),
      learningRate: learningRateAt(method.learningRate, schedule, step, steps),
      noise: test?.noise === undefined ? method.noise : { z: test.noise(step) },
      coefficients: injected === undefined ? undefined : [injected],
    };
  }

  private report({ result: _, index, ...step }: InFlight, outcome: StepOutcome, seconds: number): Step {
    return {
      index,
      ...METHODS[this.options.method.name].report(outcome),
      ...step,
      seconds,
      tokensPerSecond: step.tokens / seconds,
      deviceBytes: this.model.deviceInfo().deviceBytes,
    };
  }

  private evaluates(taken: number): boolean {
    const { evaluation, steps } = this.options;
    return evaluation !== undefined && (taken === steps || taken % evaluation.every === 0);
  }

  /** Whether an evaluation stands between the steps in flight and step `next`, so that `next` has to wait for it. */
  private evaluatesBefore(next: number, inFlight: readonly InFlight[]): boolean {
    return inFlight.length > 0 && this.evaluates(next);
  }

  private async evaluate(o: FitOptions): Promise<void> {
    const { evaluation, maxLength, truncation, reduction, template } = this.options;
    if (evaluation === undefined) return;
    const result = await this.model.evaluate(evaluation.data as DataSource, {
      ...{ batchSize: evaluation.batchSize, truncation, reduction },
      ...(maxLength === undefined ? {} : { maxLength }),
      ...(template === undefined ? {} : { template: template as NonNullable<TrainerOptions["template"]> }),
      ...(o.signal === undefined ? {} : { signal: o.signal }),
    });
    const best = this.best === null || isBetter(result, this.best);
    if (best) this.best = result;
    await o.onEvaluation?.({ ...result, step: this.taken, best });
  }
}

function isBetter(a: Evaluation, b: Evaluation): boolean {
  if (a.accuracy !== null && b.accuracy !== null && a.accuracy !== b.accuracy) return a.accuracy > b.accuracy;
  return a.loss < b.loss;
}
