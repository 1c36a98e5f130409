import { at } from "../base/at.js";
import { Zo2Error } from "../base/errors.js";
import { runInSlices, runNow, type Steps } from "../base/steps.js";
import type { Tokenizer } from "../tokenizer/index.js";
import { encodeLabelled, encodeSpan } from "./encode-labelled.js";
import { type EncodedExample, type EncodedTokens, type EncodeOptions, NOT_SCORED } from "./encoded.js";
import type { Example } from "./example.js";
import { checkIds } from "./ids.js";
import { LineError } from "./issue.js";
import { commonPrefix } from "./tokens.js";
import { tokenizeSections } from "./token-sections.js";
import { type Conversation, findTurns } from "./turns.js";

/**
 * Token ids and labels of an example. A text gets the model's special tokens, ids are used as they are, a prompt is
 * tokenised together with what follows it, and of a conversation the assistant's turns are scored. Throws
 * `ZO2_ERR_LENGTH` past `maxLength`, `ZO2_ERR_DATA` where nothing is left to score or a given id is outside the
 * vocabulary, `ZO2_ERR_TOKENIZER` where the tokenizer's is.
 */
export function encodeExample(tokenizer: Tokenizer | null, example: Example, options: EncodeOptions): EncodedExample {
  if (!Number.isSafeInteger(options.maxLength) || options.maxLength < 1) {
    throw new Zo2Error("ZO2_ERR_CONFIG", `maxLength is ${options.maxLength}; it must be a positive integer`);
  }
  const context = { tokenizer, options, place: example.place };
  switch (example.kind) {
    case "text":
      return encodeWhole(context, tokenize(context, example.text), example.startId);
    case "ids":
      checkIds(example.ids, example.place, options.vocabSize);
      return encodeWhole(context, example.ids);
    case "completion": {
      const { ids, from } = at(encodeContinuations(context, example, [example.completion]), 0);
      return { kind: "tokens", ids, labels: ids.map((id, t) => (t < from ? NOT_SCORED : id)) };
    }
    case "choices": {
      const { label, right } = example;
      const choices = encodeContinuations(context, example, example.choices);
      return { kind: "choices", choices, label, ...(right === undefined ? {} : { right }) };
    }
    case "prompt":
      throw new Zo2Error("ZO2_ERR_DATA", `${example.place}: is a prompt, and has no labels of its own`);
    case "labelled": {
      const { input } = example;
      const text = typeof input === "string";
      const ids = text ? tokenize(context, input) : input;
      return encodeLabelled(example, ids, text ? leading(context, ids) : 0, options);
    }
    case "span":
      return encodeSpan(example, (text) => tokenize(context, text), options);
    case "messages":
      return runNow(encodeTurns(context, example));
  }
}

/** The same, without holding the event loop for long conversations. */
export async function encodeExampleInSlices(
  tokenizer: Tokenizer | null,
  example: Example,
  options: EncodeOptions,
): Promise<EncodedExample> {
  if (example.kind !== "messages") return encodeExample(tokenizer, example, options);
  return runInSlices(encodeTurns({ tokenizer, options, place: example.place }, example));
}

interface Context {
  readonly tokenizer: Tokenizer | null;
  readonly options: EncodeOptions;
  readonly place: string;
}

function tokenizerOf({ tokenizer, place }: Context): Tokenizer {
  if (tokenizer === null)
    throw new Zo2Error(
      "ZO2_ERR_TOKENIZER",
      `${place}: is text, and there is no tokenizer; give {"ids"}, or a model folder with a tokenizer`,
    );
  return tokenizer;
}

function tokenize(context: Context, text: string, addSpecialTokens = true): number[] {
  const { options, place } = context;
  const tokenizer = tokenizerOf(context);
  const ids = tokenizer.encode(text, { addSpecialTokens });
  const outside = ids.find((id) => id >= options.vocabSize);
  if (outside !== undefined) {
    throw new Zo2Error(
      "ZO2_ERR_TOKENIZER",
      `${place}: the tokenizer of ${tokenizer.dir} gives id ${outside}, the model knows 0 to ` +
        `${options.vocabSize - 1}; they do not belong together`,
    );
  }
  return ids;
}

function tooLong({ options, place }: Context, length: number, why: string): LineError {
  return new LineError("length", place, `${length} tokens, and the limit is ${options.maxLength}${why}`);
}

const CHOOSE = '; raise option "maxLength", or let option "truncation" shorten it';

/** 1 where the sequence begins with the bos token, which stays when the front is cut. */
function leading({ tokenizer }: Context, ids: ArrayLike<number>): number {
  return tokenizer?.bosId !== undefined && ids[0] === tokenizer.bosId ? 1 : 0;
}

function without(ids: readonly number[], begin: number, count: number): number[] {
  return [...ids.slice(0, begin), ...ids.slice(begin + count)];
}

/** Puts `startId` where the tokenizer has put its start token. */
function startedWith(startId: number | undefined, context: Context, ids: Int32Array): Int32Array {
  if (startId !== undefined && leading(context, ids) === 1) ids[0] = startId;
  return ids;
}

function encodeWhole(context: Context, all: readonly number[], startId?: number): EncodedTokens {
  const { maxLength, truncation = "error", allowUnlabelled = false } = context.options;
  const excess = Math.max(0, all.length - maxLength);
  if (excess > 0 && truncation === "error") throw tooLong(context, all.length, CHOOSE);
  if (excess > 0) context.options.onCut?.(all.length);
  const begin = truncation === "right" ? maxLength : Math.min(leading(context, all), maxLength - 1);
  const ids = startedWith(startId, context, Int32Array.from(excess > 0 ? without(all, begin, excess) : all));
  if (ids.length < 2 && !allowUnlabelled) {
    throw new Zo2Error(
      "ZO2_ERR_DATA",
      `${context.place}: no labelled token: ${ids.length} tokens, and the first is given, not predicted`,
    );
  }
  return { kind: "tokens", ids, labels: ids.map((id, t) => (t === 0 ? NOT_SCORED : id)) };
}

/** A sequence, and the first of its tokens that is scored. */
interface Scored {
  readonly ids: Int32Array;
  readonly from: number;
}

/** The sequences prompt + continuation. What is cut of them is cut of all alike, and never of a continuation. */
function encodeContinuations(context: Context, example: Continuations, continuations: readonly string[]): Scored[] {
  const { maxLength, truncation = "error" } = context.options;
  const before = example.before ?? "";
  const all = continuations.map((continuation) => tokenize(context, before + example.prompt + continuation));
  const froms =
    example.border === "counted"
      ? countedBorders(context, example, continuations, all)
      : sharedBorders(context, before + example.prompt, all);
  const excess = Math.max(0, Math.max(...all.map((ids) => ids.length)) - maxLength);
  const started = (ids: readonly number[]) => startedWith(example.startId, context, Int32Array.from(ids));
  if (excess === 0) return all.map((ids, i) => ({ ids: started(ids), from: at(froms, i) }));
  const longest = maxLength + excess;
  if (truncation === "error") throw tooLong(context, longest, CHOOSE);
  const from = Math.min(...froms);
  if (from - excess < 1)
    throw tooLong(
      context,
      longest,
      `, of which ${longest - from} follow the prompt and are never cut; raise option "maxLength"`,
    );
  context.options.onCut?.(longest);
  const begin = truncation === "left" ? Math.min(leading(context, at(all, 0)), from - excess) : from - excess;
  return all.map((ids, i) => ({ ids: started(without(ids, begin, excess)), from: at(froms, i) - excess }));
}

type Continuations = Extract<Example, { kind: "completion" | "choices" }>;

/**
 * Where scoring begins in all of them: after the tokens that every one of them shares with the prompt alone. A
 * continuation may merge with the prompt's last token; that token is then scored in each.
 */
function sharedBorders(context: Context, prompt: string, all: readonly (readonly number[])[]): number[] {
  const alone = tokenize(context, prompt);
  const from = Math.min(...all.map((ids) => Math.min(commonPrefix(alone, ids), ids.length - 1)));
  if (from < 1) {
    throw new Zo2Error(
      "ZO2_ERR_DATA",
      `${context.place}: no labelled token: nothing stands before the continuation from which it could be ` +
        "predicted; the prompt must not be empty",
    );
  }
  return all.map(() => from);
}

/** As many from the end of each as it has more, without what stands before, than the prompt alone. */
function countedBorders(
  context: Context,
  { prompt, before }: Continuations,
  continuations: readonly string[],
  all: readonly (readonly number[])[],
): number[] {
  const alone = tokenize(context, prompt).length;
  return all.map((ids, i) => {
    const whole = before === undefined ? ids : tokenize(context, prompt + at(continuations, i));
    const count = whole.length - alone;
    if (count < 1 || count >= ids.length)
      throw new LineError("tokens", context.place, `${JSON.stringify(at(continuations, i))} has no token of its own`);
    return ids.length - count;
  });
}

/**
 * A conversation as the chat template writes it; each turn of the assistant is scored from the first token that the
 * text before it does not have alone (as for a completion) to the last one that lies in the turn. A token shared with
 * the text behind a turn is not scored.
 */
function* encodeTurns(context: Context, conversation: Conversation): Steps<EncodedTokens> {
  const { maxLength, truncation = "error" } = context.options;
  const tokenizer = tokenizerOf(context);
  const { text, turns } = yield* findTurns(tokenizer, conversation, context.place);
  const { ids, shared } = yield* tokenizeSections(tokenizer, text, (part) => tokenize(context, part, false));
  const labels = ids.map(() => NOT_SCORED);
  let first = ids.length;
  let last = 0;
  for (const { index, begin, end } of turns) {
    const from = shared(begin);
    const to = shared(end);
    yield;
    if (from < 1 || to <= from) {
      throw new Zo2Error(
        "ZO2_ERR_DATA",
        `${context.place}: no labelled token in messages[${index}]: it has no token of its own`,
      );
    }
    for (let t = from; t < to; t++) labels[t] = at(ids, t);
    first = Math.min(first, from);
    last = Math.max(last, to);
  }
  if (ids.length > maxLength && truncation === "error") throw tooLong(context, ids.length, CHOOSE);
  // What follows the last scored token goes first: nothing is predicted from it.
  const length = ids.length > maxLength ? Math.max(last, maxLength) : ids.length;
  const excess = Math.max(0, length - maxLength);
  if (excess > 0 && first - excess < 1) {
    throw tooLong(
      context,
      ids.length,
      `, of which ${last - first} begin at the assistant's first turn and are never cut; raise option "maxLength"`,
    );
  }
  if (ids.length > maxLength) context.options.onCut?.(ids.length);
  const begin = truncation === "left" ? Math.min(leading(context, ids), first - excess) : first - excess;
  const cut = (all: readonly number[]) =>
    Int32Array.from(excess > 0 ? without(all.slice(0, length), begin, excess) : all.slice(0, length));
  return { kind: "tokens", ids: cut(ids), labels: cut(labels) };
}
