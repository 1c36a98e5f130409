import { Zo2Error } from "../base/errors.js";
import { encodeExample, exampleParser, packBatch, type EncodedTokens } from "../data/index.js";
import type { Session } from "../device/session.js";
import type { Tokenizer } from "../tokenizer/index.js";

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
  readonly batchSize: number;
  readonly maxTokens: number;
  readonly maxLength: number;
  readonly vocabSize: number;
  readonly signal?: AbortSignal;
}

/** Scores inputs in order, a batch at a time. What came before an input that cannot be used is scored first. */
export async function* scoreInputs(
  session: Session,
  tokenizer: Tokenizer | null,
  inputs: AsyncIterable<ScoreInput> | Iterable<ScoreInput>,
  settings: ScoreSettings,
): AsyncGenerator<Score, void, undefined> {
  for await (const group of groups(tokenizer, inputs, settings)) yield* await scoreGroup(session, group);
}

async function* groups(
  tokenizer: Tokenizer | null,
  inputs: AsyncIterable<ScoreInput> | Iterable<ScoreInput>,
  settings: ScoreSettings,
): AsyncGenerator<EncodedTokens[], void, undefined> {
  const { batchSize, maxTokens, maxLength, vocabSize, signal } = settings;
  const parse = exampleParser({ vocabSize, accept: ["text", "ids"] });
  let group: EncodedTokens[] = [];
  let tokens = 0;
  let index = 0;
  try {
    for await (const input of inputs) {
      if (signal?.aborted === true)
        throw new Zo2Error("ZO2_ERR_ABORTED", `scoring was stopped after ${index} inputs`, { cause: signal.reason });
      const example = parse(input, input.place ?? `inputs[${index}]`);
      index++;
      const encoded = encodeExample(tokenizer, example, { maxLength, vocabSize, allowUnlabelled: true });
      if (encoded.kind !== "tokens") continue;
      if (group.length > 0 && (group.length >= batchSize || tokens + encoded.ids.length > maxTokens)) {
        yield group;
        group = [];
        tokens = 0;
      }
      group.push(encoded);
      tokens += encoded.ids.length;
    }
  } catch (error) {
    if (group.length > 0) yield group;
    throw error;
  }
  if (group.length > 0) yield group;
}

async function scoreGroup(session: Session, group: readonly EncodedTokens[]): Promise<Score[]> {
  const scored = group.filter((e) => e.ids.length > 1);
  const logprobs =
    scored.length === 0 ? new Float32Array() : ((await session.forward([packBatch(scored)]))[0] ?? new Float32Array());
  let at = 0;
  return group.map(({ ids }) => {
    const own = Array.from(ids, (_, t) => (t === 0 ? null : (logprobs[at++] ?? Number.NaN)));
    return { ids: Array.from(ids), logprobs: own, sum: own.reduce<number>((sum, l) => sum + (l ?? 0), 0) };
  });
}
