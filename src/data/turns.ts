import { messageOf } from "../base/guards.js";
import { isZo2Error, Zo2Error } from "../base/errors.js";
import { type ChatMessage, renderChat, type Tokenizer } from "../tokenizer/index.js";

/**
 * A turn of the assistant: message `index` lies in the text from `begin` to below `end` (UTF-16 units), its closing
 * marks included.
 */
export interface Turn {
  readonly index: number;
  readonly begin: number;
  readonly end: number;
}

/**
 * The conversation in the words of the chat template, and in it what the assistant says: from where the template, asked
 * for a generation prompt, stops before the turn, to where it stops behind the turn. Throws `ZO2_ERR_DATA` with `place`
 * and the message where the template does not write a conversation's beginning as it writes it in the whole, so that no
 * such border exists.
 */
export function assistantTurns(
  tokenizer: Tokenizer,
  messages: readonly ChatMessage[],
  place: string,
): { text: string; turns: Turn[] } {
  const render = (count: number, addGenerationPrompt: boolean): string => {
    try {
      return renderChat(tokenizer, messages.slice(0, count), { addGenerationPrompt });
    } catch (error) {
      throw new Zo2Error(isZo2Error(error) ? error.code : "ZO2_ERR_TOKENIZER", `${place}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  };
  const text = render(messages.length, false);
  const turns: Turn[] = [];
  for (const [index, { role, content }] of messages.entries()) {
    if (role !== "assistant") continue;
    const advice = "give one example per turn, or prompt and completion";
    const refuse = (what: string) => new Zo2Error("ZO2_ERR_DATA", `${place}: messages[${index}]: ${what}; ${advice}`);
    const before = render(index, true);
    const through = render(index + 1, false);
    if (!text.startsWith(before) || !through.startsWith(before)) {
      throw refuse("the chat template writes what comes before this turn differently once the turn is there");
    }
    const said = (content ?? "").trim();
    const turn = through.slice(before.length);
    const tail = behind(turn, said);
    if (turn.trimStart().startsWith(said) && endsAlike(before, tail) && render(index + 1, true) === through) {
      throw refuse(
        'the chat template begins a new turn behind this one although "add_generation_prompt" is false, so ' +
          "that its end cannot be told",
      );
    }
    const end = text.startsWith(through) ? through.length : endWithin(text, before.length, said, tail);
    if (end === undefined) throw refuse("the chat template writes this turn differently once others follow it");
    turns.push({ index, begin: before.length, end });
  }
  return { text, turns };
}

/**
 * What the template puts behind the content of a turn; the whole turn where the content is not in it as it was given.
 */
function behind(turn: string, content: string): string {
  const at = turn.lastIndexOf(content);
  return at < 0 ? turn : turn.slice(at + content.length);
}

/** A generation prompt that comes unasked stands at the end of both texts. */
function endsAlike(before: string, tail: string): boolean {
  let shared = 0;
  while (shared < Math.min(before.length, tail.length) && before.at(-1 - shared) === tail.at(-1 - shared)) shared++;
  return tail.slice(tail.length - shared).trim() !== "";
}

/**
 * Templates of models that think leave the thoughts out of earlier turns: the content, with the same marks behind it,
 * then stands alone.
 */
function endWithin(text: string, begin: number, content: string, tail: string): number | undefined {
  const at = text.indexOf(content + tail, begin);
  if (content === "" || at < 0 || text.slice(begin, at).trim() !== "") return undefined;
  return at + content.length + tail.length;
}
