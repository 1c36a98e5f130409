import { at } from "../../base/at.js";
import { Zo2Error } from "../../base/errors.js";
import type { ResolvedGenerateOptions } from "../../config/generate.js";
import type { Session } from "../../device/session.js";
import type { Tokenizer } from "../../tokenizer/index.js";
import { groupStream } from "../batching.js";
import type { Inputs } from "../inputs.js";
import { decode, type DecodeSettings, type FinishReason } from "./decode.js";
import { readEndIds } from "./end-ids.js";
import { encodePrompt, type GenerateInput } from "./prompt.js";
import { Continuation, type Generated } from "./text.js";

/** What generation needs to know of a model. */
export interface GenerateModel {
  readonly session: Pick<Session, "createCache" | "forward" | "prefixRows">;
  readonly tokenizer: Tokenizer | null;
  readonly dir: string;
  /** The parsed `config.json`. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly vocabSize: number;
  readonly maxPositions: number;
  /** Tokens of one micro-batch of prompts at most. */
  readonly maxTokens: number;
}

/**
 * One continuation while it is made: iterating gives its text piece by piece. Leaving the loop early frees what it
 * holds.
 */
export class Generation implements AsyncIterableIterator<string> {
  private readonly pieces: AsyncGenerator<string, Generated, undefined>;
  private ended: Generated | undefined;
  private failure: { readonly error: unknown } | undefined;

  constructor(pieces: AsyncGenerator<string, Generated, undefined>) {
    this.pieces = pieces;
  }

  /** The next piece of text; never "", never half a character. */
  async next(): Promise<IteratorResult<string, undefined>> {
    try {
      const { done, value } = await this.pieces.next();
      if (done !== true) return { done: false, value };
      // Undefined when it is asked again.
      this.ended ??= value as Generated | undefined;
      return { done: true, value: undefined };
    } catch (error) {
      this.failure ??= { error };
      throw error;
    }
  }

  /** Ends the generation here. */
  async return(): Promise<IteratorResult<string, undefined>> {
    // Nothing is made of it: the loop was left.
    await this.pieces.return({ ids: [], text: null, reason: "stop" });
    return { done: true, value: undefined };
  }

  /**
   * The whole continuation; pieces that nobody has read yet are passed over.
   * @throws Zo2Error what iterating has thrown, and ZO2_ERR_ABORTED where it was left early
   */
  async result(): Promise<Generated> {
    while ((await this.next()).done !== true);
    if (this.failure !== undefined) throw this.failure.error;
    if (this.ended === undefined)
      throw new Zo2Error("ZO2_ERR_ABORTED", "the generation was left before its end, so it has no result");
    return this.ended;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

/** Continues one prompt; text alone stands for `{ text }`. */
export function generateOne(
  model: GenerateModel,
  prompt: string | GenerateInput,
  options: ResolvedGenerateOptions,
  signal?: AbortSignal,
): Generation {
  return new Generation(pieces(model, prompt, options, signal));
}

async function* pieces(
  model: GenerateModel,
  prompt: string | GenerateInput,
  options: ResolvedGenerateOptions,
  signal: AbortSignal | undefined,
): AsyncGenerator<string, Generated, undefined> {
  const input = typeof prompt === "string" ? { text: prompt } : prompt;
  const ids = encodeInput(model, input, "the prompt");
  const continuation = newContinuation(model, ids, options);
  const settings = await settingsOf(model, options, signal);
  let reason: FinishReason = "length";
  for await (const [token] of decode(model.session, [ids], { ...settings, stops: (_, id) => continuation.push(id) })) {
    reason = token?.end ?? reason;
    const piece = continuation.take();
    if (piece !== "") yield piece;
  }
  const result = continuation.finish(reason);
  const rest = continuation.take();
  if (rest !== "") yield rest;
  return result;
}

/**
 * Continues all prompts, in order, a batch at a time. What came before an input that cannot be used is continued first.
 */
export async function* generateMany(
  model: GenerateModel,
  inputs: Inputs<string | GenerateInput>,
  options: ResolvedGenerateOptions,
  signal?: AbortSignal,
): AsyncGenerator<Generated, void, undefined> {
  let done = 0;
  // Prompts of a batch are cut into micro-batches by their tokens when they run.
  const limits = { items: options.batchSize, tokens: Number.POSITIVE_INFINITY };
  for await (const prompts of groupStream(encodeInputs(model, inputs, signal), ({ length }) => length, limits)) {
    yield* await generateGroup(model, prompts, options, { firstSequence: done, signal });
    done += prompts.length;
  }
}

/**
 * Continues prompts as one batch. For objectives over generated text, `probe` says where the weights stand; `endIds`
 * stand in place of the model's end tokens.
 */
export async function generateGroup(
  model: GenerateModel,
  prompts: readonly Int32Array[],
  options: ResolvedGenerateOptions,
  o: Pick<DecodeSettings, "firstSequence" | "signal" | "probe" | "endIds"> = {},
): Promise<Generated[]> {
  const continuations = prompts.map((ids) => newContinuation(model, ids, options));
  const { signal, ...rest } = o;
  const settings = await settingsOf(model, options, signal);
  const reasons = prompts.map((): FinishReason => "length");
  const stops = (sequence: number, id: number) => at(continuations, sequence).push(id);
  for await (const tokens of decode(model.session, prompts, { ...settings, ...rest, stops })) {
    for (const { sequence, end } of tokens) if (end !== null) reasons[sequence] = end;
  }
  return continuations.map((continuation, i) => continuation.finish(at(reasons, i)));
}

async function* encodeInputs(
  model: GenerateModel,
  inputs: Inputs<string | GenerateInput>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Int32Array, void, undefined> {
  let index = 0;
  for await (const given of inputs) {
    if (signal?.aborted === true) {
      throw new Zo2Error("ZO2_ERR_ABORTED", `the generation was stopped after ${index} inputs`, {
        cause: signal.reason,
      });
    }
    const input = typeof given === "string" ? { text: given } : given;
    yield encodeInput(model, input, `inputs[${index}]`);
    index++;
  }
}

function encodeInput(model: GenerateModel, input: GenerateInput, place: string): Int32Array {
  const { place: own }: { readonly place?: unknown } = input ?? {};
  return encodePrompt(model.tokenizer, input, typeof own === "string" ? own : place, model);
}

function newContinuation(
  { tokenizer, dir }: GenerateModel,
  prompt: Int32Array,
  { stop }: ResolvedGenerateOptions,
): Continuation {
  if (tokenizer === null && stop.length > 0) {
    const what = `has no tokenizer, so the stop text ${JSON.stringify(stop[0])} cannot be recognised`;
    throw new Zo2Error("ZO2_ERR_TOKENIZER", `${dir}: ${what}; leave stop out, or put a tokenizer into the folder`);
  }
  return new Continuation(tokenizer, prompt, stop);
}

async function settingsOf(
  model: GenerateModel,
  options: ResolvedGenerateOptions,
  signal: AbortSignal | undefined,
): Promise<DecodeSettings> {
  const { temperature, topK, topP, seed, maxNewTokens, ignoreEos, cache } = options;
  return {
    sampling: { temperature, seed, topK, topP },
    maxNewTokens,
    maxPositions: model.maxPositions,
    maxTokens: model.maxTokens,
    endIds: ignoreEos ? undefined : await readEndIds(model.dir, model.config, model.tokenizer),
    cache: cache === "auto" ? undefined : cache,
    signal,
  };
}
