/** Answers that a model generates, and how good they are. */
import { Zo2Error } from "../base/errors.js";
import { generateOptionsSchema } from "../config/generate.js";
import { parseOptions } from "../config/parse.js";
import { at } from "../base/at.js";
import { encodeExample } from "../data/index.js";
import { generateGroup, readEndIds } from "../infer/generate/index.js";
import { checkLength } from "../infer/limits.js";
import { groupItems } from "../infer/batching.js";
import { generating, type Loaded } from "../loaded.js";

/** Tokens of an answer at most. */
export const ANSWER_TOKENS = 50;
/** What ends an answer. */
export const ANSWER_END = "\n";

/** Token ids of a prompt, its beginning cut so that an answer fits behind it. @throws Zo2Error ZO2_ERR_LENGTH */
export function promptIds(
  { tokenizer, definition }: Loaded,
  prompt: { readonly text: string; readonly place: string },
  o: { readonly maxLength: number | undefined; readonly startId: number | undefined },
): Int32Array {
  const maxLength = checkLength(o.maxLength, definition.maxPositions) - ANSWER_TOKENS;
  if (maxLength < 1)
    throw new Zo2Error(
      "ZO2_ERR_LENGTH",
      `${maxLength + ANSWER_TOKENS} positions leave no room for a prompt before ${ANSWER_TOKENS} tokens of an answer`,
    );
  const encoded = encodeExample(
    tokenizer,
    { kind: "text", ...prompt, startId: o.startId },
    { maxLength, truncation: "left", vocabSize: definition.vocabSize, allowUnlabelled: true },
  );
  if (encoded.kind !== "tokens") throw new Error(`a text became ${encoded.kind}`);
  return encoded.ids;
}

export interface AnswerOptions {
  readonly batchSize: number;
  /** Whether only a line break of its own ends an answer, and not one within another token. */
  readonly faithful: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** What the model writes behind each prompt, greedily, and the tokens that went through it. */
export async function generateAnswers(
  loaded: Loaded,
  prompts: readonly Int32Array[],
  { batchSize, faithful, signal }: AnswerOptions,
): Promise<{ readonly texts: string[]; readonly tokens: number }> {
  const model = generating(loaded);
  const stop = faithful ? [] : [ANSWER_END];
  const options = parseOptions(generateOptionsSchema, { maxNewTokens: ANSWER_TOKENS, stop }, "answers");
  const texts: string[] = [];
  let tokens = 0;
  const endIds = faithful ? await lineEnds(loaded) : undefined;
  for (const group of groupItems(prompts, ({ length }) => length, { items: batchSize, tokens: model.maxTokens })) {
    if (signal?.aborted === true)
      throw new Zo2Error("ZO2_ERR_ABORTED", `the answers were stopped after ${texts.length} of ${prompts.length}`, {
        cause: signal.reason,
      });
    const made = await generateGroup(model, group, options, {
      signal,
      ...(endIds === undefined ? {} : { endIds }),
    });
    for (const { text, ids } of made) {
      texts.push(text ?? "");
      tokens += ids.length;
    }
    tokens += group.reduce((sum, { length }) => sum + length, 0);
  }
  return { texts, tokens };
}

/** The model's end tokens, and the last token of a line break. */
async function lineEnds({ dir, config, tokenizer }: Loaded): Promise<ReadonlySet<number>> {
  const ids = tokenizer?.encode(ANSWER_END, { addSpecialTokens: false }) ?? [];
  return new Set([...(await readEndIds(dir, config, tokenizer)), at(ids, ids.length - 1)]);
}
