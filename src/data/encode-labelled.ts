import { type EncodedLabelled, type EncodedSpan, type EncodeOptions, NOT_SCORED } from "./encoded.js";
import type { Example } from "./example.js";
import { LineError } from "./issue.js";
import { commonPrefix } from "./tokens.js";

/** Turns text into ids with the model's special tokens; throws where there is no tokenizer. */
export type Tokenize = (text: string) => number[];

/** Between the question and the context of a text. */
const SEPARATOR = "\n";

/**
 * Labels for the tokens `all` of a text to classify. Truncation takes tokens from the side it names, all but the first
 * `leading` ones, which are special. Throws `ZO2_ERR_LENGTH`, `ZO2_ERR_DATA` for an empty text.
 */
export function encodeLabelled(
  example: Extract<Example, { kind: "labelled" }>,
  all: readonly number[],
  leading: number,
  options: EncodeOptions,
): EncodedLabelled {
  if (all.length === 0) throw new LineError("tokens", example.place, "the text has no token");
  const excess = Math.max(0, all.length - options.maxLength);
  if (excess > 0 && (options.truncation ?? "error") === "error") throw tooLong(example.place, all.length, options);
  if (excess > 0) options.onCut?.(all.length);
  const begin = options.truncation === "right" ? all.length - excess : Math.min(leading, options.maxLength - 1);
  const ids = Int32Array.from([...all.slice(0, begin), ...all.slice(begin + excess)]);
  return { kind: "labelled", ids, labels: example.labels, problem: example.problem };
}

/**
 * Token ids of `question`, a line break and `context`, and where the answer begins and ends in them: the tokens that
 * hold its first and its last character. A sequence with a question is never cut: the answer might go. Throws
 * `ZO2_ERR_LENGTH`.
 */
export function encodeSpan(
  example: Extract<Example, { kind: "span" }>,
  tokenize: Tokenize,
  options: EncodeOptions,
): EncodedSpan {
  const { input, answer, place } = example;
  if (!("question" in input)) {
    if (input.length > options.maxLength) throw tooLong(place, input.length, options);
    return {
      kind: "span",
      ids: Int32Array.from(input),
      start: answer?.start ?? NOT_SCORED,
      end: answer?.end ?? NOT_SCORED,
    };
  }
  const front = `${input.question}${SEPARATOR}`;
  const ids = tokenize(front + input.context);
  if (ids.length > options.maxLength) throw tooLong(place, ids.length, options);
  if (answer === null) return { kind: "span", ids: Int32Array.from(ids), start: NOT_SCORED, end: NOT_SCORED };
  const tokenAt = (character: number) =>
    Math.min(commonPrefix(tokenize(front + input.context.slice(0, character)), ids), ids.length - 1);
  const start = tokenAt(answer.start);
  // The last token of the text up to the answer's end, or the one that it shares with what follows.
  const upTo = tokenize(front + input.context.slice(0, answer.end));
  const shared = commonPrefix(upTo, ids);
  const end = shared === upTo.length ? shared - 1 : shared;
  return { kind: "span", ids: Int32Array.from(ids), start, end: Math.max(start, Math.min(end, ids.length - 1)) };
}

function tooLong(place: string, length: number, options: EncodeOptions): LineError {
  return new LineError(
    "length",
    place,
    `${length} tokens, and the limit is ${options.maxLength}; raise option "maxLength", or shorten it`,
  );
}
