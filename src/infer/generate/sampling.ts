import { at } from "../../base/at.js";
import { SplitMix64 } from "../../data/random.js";
import { Zo2Error } from "../../base/errors.js";

/** How the next token is chosen from the model's distribution. */
export interface Sampling {
  /** The logits are divided by it; 0 takes the likeliest token, the first of equals. */
  readonly temperature: number;
  /** Only so many of the likeliest tokens, the first of equals. */
  readonly topK?: number | undefined;
  /**
   * Of those only the fewest likeliest ones whose probabilities sum to this much (nucleus sampling, arXiv 1904.09751).
   */
  readonly topP?: number | undefined;
  /** Any 64-bit integer. */
  readonly seed: bigint;
}

/** The tokens that may be drawn, with weights proportional to their probabilities. */
export interface Candidates {
  /** Null for all tokens, in order; else likeliest first, the smaller id of equals first. */
  readonly ids: readonly number[] | null;
  readonly weights: Float64Array;
}

/** Nearly always the nucleus has fewer tokens than this, and the vocabulary need not be sorted. */
const FRONT = 256;

/** The id of the largest logit, the first of equals. Throws `ZO2_ERR_NOT_FINITE` beginning with `place`. */
export function likeliest(logits: Float32Array, place: string): number {
  let best = 0;
  let most = -Infinity;
  for (let id = 0; id < logits.length; id++) {
    const logit = at(logits, id);
    if (!Number.isFinite(logit)) {
      const advice = "check the weights, and use the dtype fp32 or bf16 where fp16 is too narrow";
      throw new Zo2Error("ZO2_ERR_NOT_FINITE", `${place}: the logit of token ${id} is ${logit}; ${advice}`);
    }
    if (logit > most) {
      most = logit;
      best = id;
    }
  }
  return best;
}

/** The token to go on with. `random` gives a number from 0 to below 1, and is not asked at temperature 0. */
export function choose(logits: Float32Array, sampling: Sampling, random: () => number, place: string): number {
  const best = likeliest(logits, place);
  if (sampling.temperature === 0) return best;
  const { ids, weights } = candidates(logits, sampling);
  const index = draw(weights, random());
  return ids === null ? index : (ids[index] ?? best);
}

/** What is left of the distribution of finite logits under a temperature above 0, then `topK`, then `topP`. */
export function candidates(logits: Float32Array, { temperature, topK, topP }: Sampling): Candidates {
  const limited = topK !== undefined && topK < logits.length;
  if (limited) {
    const ids = likeliestIds(logits, topK);
    const weights = weightsOf(
      Float32Array.from(ids, (id) => at(logits, id)),
      temperature,
    );
    return topP === undefined ? { ids, weights } : nucleus({ ids, weights }, topP * sum(weights));
  }
  const weights = weightsOf(logits, temperature);
  if (topP === undefined) return { ids: null, weights };
  const mass = topP * sum(weights);
  const within = (ids: readonly number[]) =>
    nucleus({ ids, weights: Float64Array.from(ids, (id) => at(weights, id)) }, mass);
  const front = within(likeliestIds(logits, FRONT));
  return front.weights.length < FRONT ? front : within(frontrunners(logits, weights, topP));
}

/** Natural log-probability of token `id` under the logits as they are, whatever the sampling. */
export function logProbability(logits: Float32Array, id: number): number {
  return at(logits, id) - largest(logits) - Math.log(sum(weightsOf(logits, 1)));
}

/**
 * A number from 0 to below 1 for one position of one sequence. It depends on nothing else, so that a sequence gets the
 * same draws in whatever batch it is.
 */
export function unitAt(seed: bigint, sequence: number, position: number): number {
  let state = mix(seed);
  state = mix(state ^ BigInt(sequence));
  state = mix(state ^ BigInt(position));
  return Number(state >> 11n) / 2 ** 53;
}

function mix(state: bigint): bigint {
  const [high, low] = new SplitMix64(state).next();
  return (BigInt(high) << 32n) | BigInt(low);
}

function draw(weights: Float64Array, unit: number): number {
  const target = unit * sum(weights);
  let passed = 0;
  let last = 0;
  for (let i = 0; i < weights.length; i++) {
    const weight = at(weights, i);
    if (weight === 0) continue;
    passed += weight;
    last = i;
    if (passed > target) return i;
  }
  // Rounding may leave the sum at the target.
  return last;
}

/** Likeliest first, the smaller id of equals first. */
function byLogit(logits: Float32Array): (a: number, b: number) => number {
  return (a, b) => at(logits, b) - at(logits, a) || a - b;
}

/**
 * The ids of the `count` largest logits. Twice as many are held at most, since what falls behind the floor cannot come
 * back.
 */
function likeliestIds(logits: Float32Array, count: number): number[] {
  const order = byLogit(logits);
  let held: number[] = [];
  let floor = -Infinity;
  for (let id = 0; id < logits.length; id++) {
    const logit = at(logits, id);
    // A later equal of the floor has `count` before it.
    if (logit <= floor) continue;
    held.push(id);
    if (held.length < 2 * count) continue;
    held = held.sort(order).slice(0, count);
    floor = at(logits, held.at(-1) ?? 0);
  }
  return held.sort(order).slice(0, count);
}

/**
 * The ids that the nucleus of `topP` can have, in its order. All tokens below (1 - topP) / n of the mass have less than
 * 1 - topP of it together, so the rest reaches topP without them.
 */
function frontrunners(logits: Float32Array, weights: Float64Array, topP: number): number[] {
  // Half of it leaves room for rounding.
  const floor = ((1 - topP) / (2 * weights.length)) * sum(weights);
  const ids: number[] = [];
  for (let id = 0; id < weights.length; id++) if (at(weights, id) >= floor) ids.push(id);
  return ids.sort(byLogit(logits));
}

/** The shortest front whose weights reach `mass`; at least one. */
function nucleus(
  { ids, weights }: { readonly ids: readonly number[]; readonly weights: Float64Array },
  mass: number,
): Candidates {
  let total = 0;
  let count = 0;
  while (count < weights.length) {
    total += at(weights, count++);
    if (total >= mass) break;
  }
  return { ids: ids.slice(0, count), weights: weights.subarray(0, count) };
}

// Vocabularies have more than 100 000 tokens: plain loops are several times as fast as iterators and callbacks.

/** exp((logit - largest) / temperature) */
function weightsOf(logits: Float32Array, temperature: number): Float64Array {
  const most = largest(logits);
  const weights = new Float64Array(logits.length);
  for (let i = 0; i < logits.length; i++) weights[i] = Math.exp((at(logits, i) - most) / temperature);
  return weights;
}

function largest(values: Float32Array): number {
  let most = -Infinity;
  for (let i = 0; i < values.length; i++) {
    const value = at(values, i);
    if (value > most) most = value;
  }
  return most;
}

function sum(values: Float64Array): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += at(values, i);
  return total;
}
