import { at } from "../base/at.js";
import { Zo2Error } from "../base/errors.js";
import { encodeExample, exampleParser, packBatch, type EncodedTokens } from "../data/index.js";
import type { Session } from "../device/session.js";
import type { Tokenizer } from "../tokenizer/index.js";
import { type GroupLimits, groupStream } from "./batching.js";
import type { Inputs } from "./inputs.js";

/** Text gets the model's special tokens; ids are used as they are. */
export type ScoreInput = ({ readonly text: string } | { readonly ids: readonly number[] }) & {
  /** Where it comes from ("texts.jsonl:17"), for messages. @default "inputs[i]" */
  readonly place?: string;
};

export interface Score {
  readonly ids: number[];
  /** Natural log-probability of every token given those before it; null for the first. */
  readonly logprobs: (number | null)[];
  /** Sum of the log-probabilities, in fp64. */
  readonly sum: number;
}

export interface ScoreSettings {
  readonly limits: GroupLimits;
  readonly maxLength: number;
  readonly vocabSize: number;
  readonly signal?: AbortSignal | undefined;
}

/** Scores inputs in order, a batch at a time. What came before an input that cannot be used is scored first. */
export async function* scoreInputs(
  session: Session,
  tokenizer: Tokenizer | null,
  inputs: Inputs<ScoreInput>,
  settings: ScoreSettings,
): AsyncGenerator<Score, void, undefined> {
  const encoded = encodeInputs(tokenizer, inputs, settings);
  const groups = groupStream(encoded, ({ ids }) => ids.length, settings.limits);
  for await (const group of groups) yield* await scoreGroup(session, group);
}

async function* encodeInputs(
  tokenizer: Tokenizer | null,
  inputs: Inputs<ScoreInput>,
  { maxLength, vocabSize, signal }: ScoreSettings,
): AsyncGenerator<EncodedTokens, void, undefined> {
  const parse = exampleParser({ vocabSize, accept: ["text", "ids"] });
  let index = 0;
  for await (const input of inputs) {
    if (signal?.aborted === true) {
      throw new Zo2Error("ZO2_ERR_ABORTED", `scoring was stopped after ${index} inputs`, { cause: signal.reason });
    }
    const example = parse(input, input.place ?? `inputs[${index}]`);
    index++;
    const encoded = encodeExample(tokenizer, example, { maxLength, vocabSize, allowUnlabelled: true });
    if (encoded.kind === "tokens") yield encoded;
  }
}

async function scoreGroup(session: Session, group: readonly EncodedTokens[]): Promise<Score[]> {
  // A single token has nothing that predicts it.
  const scored = group.filter((e) => e.ids.length > 1);
  const logprobs = scored.length === 0 ? new Float32Array() : at(await session.forward([packBatch(scored)]), 0);
  let next = 0;
  return group.map(({ ids }) => {
    const own = Array.from(ids, (_, t) => (t === 0 ? null : at(logprobs, next++)));
    return { ids: Array.from(ids), logprobs: own, sum: own.reduce<number>((sum, l) => sum + (l ?? 0), 0) };
  });
}
