import { Zo2Error } from "../base/errors.js";
import { at } from "../base/at.js";
import { noiseOf } from "../config/methods/index.js";
import type { ResolvedTrainerOptions } from "../config/trainer.js";
import { batchLoss, logitLoss } from "../data/index.js";
import type { Direction } from "../device/requests.js";
import { packGroups } from "../infer/batching.js";
import type { EncodedSource } from "../infer/encoded-source.js";
import { evaluationOutput } from "../infer/evaluate.js";
import type { Loaded } from "../loaded.js";
import { directionsOf, type Probe, stepOf } from "../method/index.js";
import { BatchOrder } from "./order.js";
import { type Look, type RateChoice, rateFrom } from "./rate-rule.js";
import { runLimits } from "./run-data.js";

/** Directions, each with five forward passes over a batch: as many as 20 steps of one direction have. */
const DIRECTIONS = 8;

type Batch = ReturnType<typeof packGroups>;

/**
 * Looks along the directions of the first steps, each with that step's batch, and changes no weight: a function of the
 * weights, the data and the options alone.
 * @throws Zo2Error ZO2_ERR_NOT_FINITE where the losses speak for no rate, ZO2_ERR_ABORTED
 */
export async function chooseRate(
  loaded: Loaded,
  options: ResolvedTrainerOptions,
  source: EncodedSource,
  signal: AbortSignal | undefined,
): Promise<RateChoice> {
  const { seed, batchSize, reduction, method } = options;
  const { eps } = method;
  const noise = noiseOf(method);
  const order = new BatchOrder(source, seed, batchSize);
  const looks: Look[] = [];
  for (let step = 0; step < DIRECTIONS; step++) {
    if (signal?.aborted === true) {
      const what = `the choice of a learning rate was stopped after ${step} of ${DIRECTIONS} directions`;
      throw new Zo2Error("ZO2_ERR_ABORTED", what, { cause: signal.reason });
    }
    const batch = packGroups(await order.batch(step), { reduction, limits: runLimits(loaded, options).limits });
    const loss = (sign: 1 | -1, distance: number) =>
      lossAt(loaded, batch, { at: { direction: 0, sign }, of: { seed, step, noise, eps: distance } });
    looks.push({
      here: await lossAt(loaded, batch),
      near: [await loss(1, eps), await loss(-1, eps)],
      far: [await loss(1, 2 * eps), await loss(-1, 2 * eps)],
    });
  }
  const looked = stepOf({ ...method, directions: DIRECTIONS });
  const choice = rateFrom(looks, eps, looked, directionsOf(stepOf(method).probes));
  if (choice !== null) return choice;
  throw new Zo2Error(
    "ZO2_ERR_NOT_FINITE",
    'option "method.learningRate" is "auto", and the losses beside the weights speak for no rate: they are ' +
      "all equal, or not finite; give a number, and look at eps, dtype and the data",
  );
}

async function lossAt(
  { session, definition: { head } }: Loaded,
  batch: Batch,
  probe?: { readonly at: Probe; readonly of: Direction },
): Promise<number> {
  const results = await session.forward(batch, { output: evaluationOutput(head), probe });
  let sum = 0;
  let count = 0;
  for (const [i, micro] of batch.entries()) {
    const loss = head.kind === "causal" ? batchLoss(micro, at(results, i)) : logitLoss(micro, at(results, i));
    sum += loss.sum;
    count += loss.count;
  }
  return sum / count;
}
