/**
 * From the logits of a batch to its loss and predictions, in fp64 and in batch order: heads other than the language
 * model's.
 */
import { at } from "../base/at.js";
import { Zo2Error } from "../base/errors.js";
import { SPAN_FIELDS, TARGET_FIELDS, type PackedBatch } from "./batch.js";
import { NOT_SCORED } from "./encoded.js";
import type { LossSum } from "./token-loss.js";

/** A loss before division, and how many of what can be right are. */
export interface LogitLoss extends LossSum {
  /** Examples (for several labels at once: labels) called right; null where there is no right and wrong. */
  readonly correct: number | null;
  /** Of how many. */
  readonly called: number;
}

/**
 * The loss of a batch of labels or spans from its logits, [headRows x columns] row-major: cross entropy, binary cross
 * entropy with logits, squared error, or half the cross entropy of an answer's start and half of its end (over the
 * tokens of its own text; padding does not exist here).
 */
export function logitLoss(batch: PackedBatch, logits: Float32Array): LogitLoss {
  const { objective } = batch;
  const columns = batch.headRows.length === 0 ? 0 : logits.length / batch.headRows.length;
  switch (objective.kind) {
    case "tokens":
      return classes(batch.targets, logits, columns);
    case "values":
      return objective.loss === "squared" ? squared(objective.labels, logits) : binary(objective.labels, logits);
    case "spans":
      return spans(objective.examples, logits);
    default:
      throw new Zo2Error("ZO2_ERR_INVALID_ARGUMENT", `a batch of the kind ${objective.kind} has no loss on logits`);
  }
}

function classes(targets: Int32Array, logits: Float32Array, columns: number): LogitLoss {
  let sum = 0;
  let correct = 0;
  for (let i = 0; i < targets.length; i += TARGET_FIELDS) {
    const row = at(targets, i);
    const label = at(targets, i + 1);
    const scores = logits.subarray(row * columns, (row + 1) * columns);
    sum += crossEntropy(scores, label);
    if (largest(scores) === label) correct++;
  }
  const count = targets.length / TARGET_FIELDS;
  return { sum, count, correct, called: count };
}

function binary(labels: Float32Array, logits: Float32Array): LogitLoss {
  let sum = 0;
  let correct = 0;
  labels.forEach((y, i) => {
    const x = at(logits, i);
    sum += Math.max(x, 0) - x * y + Math.log1p(Math.exp(-Math.abs(x)));
    if (x > 0 === y > 0.5) correct++;
  });
  return { sum, count: labels.length, correct, called: labels.length };
}

function squared(labels: Float32Array, logits: Float32Array): LogitLoss {
  let sum = 0;
  labels.forEach((y, i) => (sum += (at(logits, i) - y) ** 2));
  return { sum, count: labels.length, correct: null, called: 0 };
}

function spans(examples: Int32Array, logits: Float32Array): LogitLoss {
  let sum = 0;
  let correct = 0;
  const count = examples.length / SPAN_FIELDS;
  for (let e = 0; e < count; e++) {
    const [begin = 0, end = 0, start = NOT_SCORED, stop = NOT_SCORED] = examples.subarray(
      e * SPAN_FIELDS,
      (e + 1) * SPAN_FIELDS,
    );
    const { starts, ends } = spanScores(logits, begin, end);
    if (start !== NOT_SCORED) sum += crossEntropy(starts, start) / 2;
    if (stop !== NOT_SCORED) sum += crossEntropy(ends, stop) / 2;
    if (largest(starts) === start && largest(ends) === stop) correct++;
  }
  return { sum, count, correct, called: count };
}

/** The start and the end scores of the head rows [begin, end). */
export function spanScores(
  logits: Float32Array,
  begin: number,
  end: number,
): { readonly starts: Float32Array; readonly ends: Float32Array } {
  const column = (c: number) => Float32Array.from({ length: end - begin }, (_, i) => at(logits, 2 * (begin + i) + c));
  return { starts: column(0), ends: column(1) };
}

/** The first of the largest. */
export function largest(scores: Float32Array): number {
  return scores.reduce((best, score, i) => (score > at(scores, best) ? i : best), 0);
}

/** exp(score) over their sum. */
export function softmax(scores: Float32Array): Float64Array {
  const most = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  const terms = Float64Array.from(scores, (score) => Math.exp(score - most));
  const sum = terms.reduce((a, b) => a + b, 0);
  return terms.map((term) => term / sum);
}

function crossEntropy(scores: Float32Array, label: number): number {
  const most = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  let sum = 0;
  for (const score of scores) sum += Math.exp(score - most);
  return most + Math.log(sum) - at(scores, label);
}
