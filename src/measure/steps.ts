/** Steps on tokens that mean nothing, for whoever wants to know how long they take. */
import { at } from "../base/at.js";
import { packBatch } from "../data/index.js";
import type { Session } from "../device/session.js";
import { exampleOf } from "../infer/plan-ahead.js";
import type { Batch } from "../memory/batch-tables.js";
import { STEPS_IN_FLIGHT } from "../memory/control.js";
import { type DrawnNoise, METHODS, type MethodStep } from "../method/index.js";
import type { HeadSpec } from "../models/head.js";

/** Sequences of equal length, by micro-batch. */
export interface BatchShape {
  readonly microBatches: readonly number[];
  /** Tokens of each sequence. */
  readonly length: number;
}

/** A batch of this shape; its tokens are spread over the vocabulary. */
export function batchOfShape(head: HeadSpec, vocabSize: number, { microBatches, length }: BatchShape): Batch {
  let token = 0;
  // A step that shares no factor with most sizes: every token is met before one comes again.
  const next = () => (token = (token + 7919) % vocabSize);
  const sequence = () => exampleOf(head, Int32Array.from({ length }, next));
  return microBatches.map((count) => packBatch(Array.from({ length: count }, sequence)));
}

export interface StepsOptions {
  /** What a step is. @default MeZO's, along one direction */
  readonly method?: MethodStep;
  readonly noise: DrawnNoise;
  readonly eps: number;
  readonly learningRate: number;
  /** Number of the first. */
  readonly first: number;
  readonly count: number;
  /** Whether each is stored in a pass of its own, before the next begins. @default false */
  readonly flushes?: boolean;
}

/**
 * Takes steps as a trainer does, as many in flight at once.
 * @returns seconds of each, from the end of the one before it
 */
export async function takeSteps(session: Session, batch: Batch, o: StepsOptions): Promise<number[]> {
  const { probes, rule } = o.method ?? METHODS["mezo-sgd"].step({ eps: o.eps, directions: 1 });
  const depth = o.flushes === true ? 1 : STEPS_IN_FLIGHT;
  const inFlight: Promise<unknown>[] = [];
  const seconds: number[] = [];
  let next = 0;
  let last = performance.now();
  while (seconds.length < o.count) {
    while (inFlight.length < depth && next < o.count) {
      const { noise, eps, learningRate } = o;
      const request = { step: o.first + next, seed: 1n, noise, eps, learningRate, weightDecay: 0, probes, rule };
      inFlight.push((await session.step(batch, request)).result);
      next++;
    }
    await at(inFlight, 0);
    inFlight.shift();
    if (inFlight.length === 0) session.commit();
    if (o.flushes === true) await session.flush();
    const now = performance.now();
    seconds.push((now - last) / 1e3);
    last = now;
  }
  return seconds;
}
