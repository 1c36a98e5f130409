import { isRecord, messageOf } from "../../base/guards.js";
import { chatMessages, toolsOf } from "../../data/messages.js";
import { checkIds } from "../../data/ids.js";
import { isZo2Error, Zo2Error } from "../../base/errors.js";
import { renderChat, type ChatMessage, type Tokenizer } from "../../tokenizer/index.js";

/**
 * What to continue: text gets the tokenizer's special tokens, a conversation the words of the chat template up to the
 * assistant's next turn and no other special tokens, and ids are used as they are.
 */
export type GenerateInput = (
  | { readonly text: string }
  | { readonly ids: readonly number[] }
  /** With descriptions of tools, for templates that know them. */
  | { readonly messages: readonly ChatMessage[]; readonly tools?: readonly unknown[] }
) & {
  /** Where it comes from ("prompts.jsonl:17"), for messages. @default "inputs[i]" */
  readonly place?: string;
};

export interface PromptLimits {
  readonly vocabSize: number;
  readonly maxPositions: number;
}

const SHAPES = ["text", "ids", "messages"] as const;
const NEEDED = 'one of {"text"}, {"ids"} and {"messages"} is needed';

/**
 * Token ids of a prompt.
 * @throws Zo2Error ZO2_ERR_DATA for another shape, an empty prompt, or an id outside the vocabulary; ZO2_ERR_LENGTH
 *   where the model's positions leave no room for a new token; ZO2_ERR_TOKENIZER for text without a tokenizer, or
 *   messages without a chat template
 */
export function encodePrompt(
  tokenizer: Tokenizer | null,
  input: unknown,
  place: string,
  { vocabSize, maxPositions }: PromptLimits,
): Int32Array {
  const ids = idsOf(tokenizer, input, place);
  if (ids.length === 0)
    throw new Zo2Error("ZO2_ERR_DATA", `${place}: the prompt has 0 tokens; give at least one to go on from`);
  if (ids.length >= maxPositions) {
    const sizes = `the prompt has ${ids.length} tokens, and the model has ${maxPositions} positions`;
    throw new Zo2Error("ZO2_ERR_LENGTH", `${place}: ${sizes}; shorten it to ${maxPositions - 1} at most`);
  }
  checkIds(ids, place, vocabSize);
  return Int32Array.from(ids);
}

function idsOf(tokenizer: Tokenizer | null, input: unknown, place: string): readonly number[] {
  if (!isRecord(input)) throw new Zo2Error("ZO2_ERR_DATA", `${place}: not an object; ${NEEDED}`);
  const [shape, ...more] = SHAPES.filter((name) => input[name] !== undefined);
  const value = shape === undefined ? undefined : input[shape];
  if (more.length > 0) throw new Zo2Error("ZO2_ERR_DATA", `${place}: has both "${shape}" and "${more[0]}"; ${NEEDED}`);
  switch (shape) {
    case "text": {
      if (typeof value !== "string") throw new Zo2Error("ZO2_ERR_DATA", `${place}: "text" is not a text`);
      return textIds(tokenizer, place, (t) => t.encode(value));
    }
    case "ids":
      if (!Array.isArray(value)) throw new Zo2Error("ZO2_ERR_DATA", `${place}: "ids" is not a list of integers`);
      return value as readonly number[];
    case "messages": {
      const messages = chatMessages(value, place);
      if (messages.length === 0)
        throw new Zo2Error("ZO2_ERR_DATA", `${place}: "messages" is empty; give at least one turn`);
      const tools = toolsOf(input["tools"], place);
      return textIds(tokenizer, place, (t) =>
        t.encode(renderChat(t, messages, { addGenerationPrompt: true, ...tools }), { addSpecialTokens: false }),
      );
    }
    default: {
      const has =
        Object.keys(input)
          .filter((name) => name !== "place")
          .map((name) => JSON.stringify(name))
          .join(", ") || "no field";
      throw new Zo2Error("ZO2_ERR_DATA", `${place}: has ${has}; ${NEEDED}`);
    }
  }
}

function textIds(
  tokenizer: Tokenizer | null,
  place: string,
  encode: (tokenizer: Tokenizer) => readonly number[],
): readonly number[] {
  if (tokenizer === null) {
    throw new Zo2Error(
      "ZO2_ERR_TOKENIZER",
      `${place}: is text, and there is no tokenizer; give {"ids"}, or a model folder with a tokenizer`,
    );
  }
  try {
    return encode(tokenizer);
  } catch (error) {
    throw isZo2Error(error) ? new Zo2Error(error.code, `${place}: ${messageOf(error)}`, { cause: error }) : error;
  }
}
