import { largest, softmax, spanScores } from "../data/logit-loss.js";
import { encodeExample, exampleParser, packBatch, packPositions } from "../data/index.js";
import { at } from "../base/at.js";
import { Zo2Error } from "../base/errors.js";
import type { HeadSpec } from "../models/head.js";
import type { Session } from "../device/session.js";
import type { Tokenizer } from "../tokenizer/index.js";
import { type GroupLimits, groupStream } from "./batching.js";
import type { Inputs } from "./inputs.js";

/** A text to classify, or a question about a context. */
export type PredictInput =
  | { readonly text: string }
  | { readonly ids: readonly number[] }
  | { readonly question: string; readonly context: string };

/** What a classifier says of one text. */
export interface LabelPrediction {
  readonly kind: "labels";
  /** The model's own outputs, one for each label; for a regression these are the values. */
  readonly logits: Float32Array;
  /**
   * By label name: probabilities that sum to 1 (single label), one by one (several labels), or the values (regression).
   */
  readonly scores: Readonly<Record<string, number>>;
  /** The label with the highest score; null for a regression. */
  readonly label: string | null;
}

/** Where a model says that the answer stands. */
export interface SpanPrediction {
  readonly kind: "span";
  /** Tokens of the input, both included. */
  readonly start: number;
  readonly end: number;
  /** Probability of the start times that of the end. */
  readonly score: number;
  /** Null without a tokenizer. */
  readonly text: string | null;
}

export interface PredictSettings {
  readonly head: HeadSpec;
  readonly limits: GroupLimits;
  readonly maxLength: number;
  readonly vocabSize: number;
  readonly signal?: AbortSignal | undefined;
}

/** Tokens of the longest answer that is looked for. */
const LONGEST_ANSWER = 64;

/**
 * Predictions for inputs, in order, a batch at a time. What came before an input that cannot be used is predicted
 * first. Throws `ZO2_ERR_MODEL_UNSUPPORTED` for a language model.
 */
export async function* predictInputs(
  session: Session,
  tokenizer: Tokenizer | null,
  inputs: Inputs<PredictInput>,
  settings: PredictSettings,
): AsyncGenerator<LabelPrediction | SpanPrediction, void, undefined> {
  const { head } = settings;
  if (head.kind === "causal") {
    throw new Zo2Error(
      "ZO2_ERR_MODEL_UNSUPPORTED",
      "the model predicts tokens; use generate, score or evaluate, or load a model with a classification or " +
        "question-answering head",
    );
  }
  const encoded = encodeInputs(tokenizer, inputs, settings);
  for await (const group of groupStream(encoded, ({ length }) => length, settings.limits)) {
    yield* await predictGroup(session, tokenizer, group, head);
  }
}

async function* encodeInputs(
  tokenizer: Tokenizer | null,
  inputs: Inputs<PredictInput>,
  settings: PredictSettings,
): AsyncGenerator<Int32Array, void, undefined> {
  const { signal } = settings;
  let index = 0;
  for await (const input of inputs) {
    if (signal?.aborted === true) {
      throw new Zo2Error("ZO2_ERR_ABORTED", `predicting was stopped after ${index} inputs`, { cause: signal.reason });
    }
    yield encode(tokenizer, input, `inputs[${index++}]`, settings);
  }
}

function encode(
  tokenizer: Tokenizer | null,
  input: PredictInput,
  place: string,
  { head, maxLength, vocabSize }: PredictSettings,
): Int32Array {
  const asked = head.kind === "spans" && "question" in input;
  const example = asked
    ? exampleParser({ head, vocabSize })({ ...input, answer: null }, place)
    : exampleParser({ accept: ["text", "ids"], vocabSize })(input, place);
  const encoded = encodeExample(tokenizer, example, { maxLength, vocabSize, allowUnlabelled: true });
  if (encoded.kind === "choices") throw new Error(`${place}: a text was encoded as choices`);
  return encoded.ids;
}

async function predictGroup(
  session: Session,
  tokenizer: Tokenizer | null,
  group: readonly Int32Array[],
  head: Exclude<HeadSpec, { kind: "causal" }>,
): Promise<(LabelPrediction | SpanPrediction)[]> {
  if (head.kind === "spans") {
    const batch = packBatch(group.map((ids) => ({ kind: "span" as const, ids, start: 0, end: 0 })));
    const logits = at(await session.forward([batch]), 0);
    let begin = 0;
    return group.map((ids) => {
      const prediction = bestSpan(logits, begin, ids, tokenizer);
      begin += ids.length;
      return prediction;
    });
  }
  const batch = packPositions(group.map((ids) => ({ ids, positions: [ids.length - 1] })));
  const all = at(await session.forward([batch]), 0);
  const columns = head.labels.length;
  return group.map((_, i) => labelPrediction(all.slice(i * columns, (i + 1) * columns), head));
}

function labelPrediction(
  logits: Float32Array,
  { labels, problem }: Extract<HeadSpec, { kind: "classification" }>,
): LabelPrediction {
  const values =
    problem === "regression"
      ? Float64Array.from(logits)
      : problem === "single_label_classification"
        ? softmax(logits)
        : Float64Array.from(logits, (x) => 1 / (1 + Math.exp(-x)));
  return {
    kind: "labels",
    logits,
    scores: Object.fromEntries(labels.map((label, i) => [label, at(values, i)])),
    label: problem === "regression" ? null : (labels[largest(logits)] ?? null),
  };
}

function bestSpan(logits: Float32Array, begin: number, ids: Int32Array, tokenizer: Tokenizer | null): SpanPrediction {
  const { starts, ends } = spanScores(logits, begin, begin + ids.length);
  let best = { start: 0, end: 0, sum: -Infinity };
  for (let start = 0; start < ids.length; start++) {
    for (let end = start; end < Math.min(ids.length, start + LONGEST_ANSWER); end++) {
      const sum = at(starts, start) + at(ends, end);
      if (sum > best.sum) best = { start, end, sum };
    }
  }
  const score = at(softmax(starts), best.start) * at(softmax(ends), best.end);
  return {
    kind: "span",
    start: best.start,
    end: best.end,
    score,
    text: tokenizer?.decode(ids.subarray(best.start, best.end + 1)).trim() ?? null,
  };
}
