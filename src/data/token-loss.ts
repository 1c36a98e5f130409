/** From the log-probabilities of a batch's targets to its loss, in fp64 and in batch order. */
import { at } from "../base/at.js";
import { Zo2Error } from "../base/errors.js";
import { CHOICE_FIELDS, EXAMPLE_FIELDS, TARGET_FIELDS, labelledCount, type PackedBatch } from "./batch.js";

/** A loss before division: batches of different sizes are added up and divided once. */
export interface LossSum {
  readonly sum: number;
  /** Labelled tokens, or examples with choices. */
  readonly count: number;
}

export interface ChoiceScores {
  /** Per example, the score of each choice: mean or sum of its tokens' log-probabilities. */
  readonly scores: Float64Array[];
  /** Per example, the index of the best choice, the first of equals. */
  readonly predictions: number[];
  /** Per example, the cross entropy of the label over the scores. */
  readonly losses: number[];
}

function checkCount(batch: PackedBatch, logprobs: Float32Array): void {
  const targets = batch.targets.length / TARGET_FIELDS;
  if (logprobs.length !== targets)
    throw new Zo2Error(
      "ZO2_ERR_INVALID_ARGUMENT",
      `${logprobs.length} log-probabilities for a batch of ${targets} targets`,
    );
}

/** The summed negative log-probabilities of a batch of tokens. `logprobs` is [targets]. */
export function tokenLoss(batch: PackedBatch, logprobs: Float32Array): LossSum {
  checkCount(batch, logprobs);
  if (batch.objective.kind !== "tokens")
    throw new Zo2Error("ZO2_ERR_INVALID_ARGUMENT", "the batch has choices; its loss is that of choiceScores");
  let sum = 0;
  for (const logprob of logprobs) sum -= logprob;
  return { sum, count: labelledCount(batch) };
}

/** Scores, predictions and losses of a batch of choices, as in MeZO (arXiv 2305.17333). `logprobs` is [targets]. */
export function choiceScores(batch: PackedBatch, logprobs: Float32Array): ChoiceScores {
  checkCount(batch, logprobs);
  if (batch.objective.kind !== "choices")
    throw new Zo2Error("ZO2_ERR_INVALID_ARGUMENT", "the batch has no choices to score");
  const { choices, examples, reduction } = batch.objective;
  const result: ChoiceScores = { scores: [], predictions: [], losses: [] };
  for (let e = 0; e < examples.length; e += EXAMPLE_FIELDS) {
    const [begin = 0, end = 0, label = 0] = examples.subarray(e, e + EXAMPLE_FIELDS);
    const scores = new Float64Array(end - begin);
    for (let c = begin; c < end; c++) {
      const [first = 0, last = 0] = choices.subarray(c * CHOICE_FIELDS, (c + 1) * CHOICE_FIELDS);
      let sum = 0;
      for (const logprob of logprobs.subarray(first, last)) sum += logprob;
      scores[c - begin] = reduction === "mean" ? sum / (last - first) : sum;
    }
    const best = scores.reduce((most, score, i) => (score > at(scores, most) ? i : most), 0);
    result.scores.push(scores);
    result.predictions.push(best);
    result.losses.push(logSumExp(scores) - at(scores, label));
  }
  return result;
}

/** The loss of a batch of either kind. */
export function batchLoss(batch: PackedBatch, logprobs: Float32Array): LossSum {
  if (batch.objective.kind === "tokens") return tokenLoss(batch, logprobs);
  return { sum: choiceScores(batch, logprobs).losses.reduce((a, b) => a + b, 0), count: labelledCount(batch) };
}

function logSumExp(values: Float64Array): number {
  const largest = values.reduce((a, b) => Math.max(a, b), -Infinity);
  if (!Number.isFinite(largest)) return largest;
  let sum = 0;
  for (const value of values) sum += Math.exp(value - largest);
  return largest + Math.log(sum);
}
