/** The border of one turn, by what the template makes of the conversation's beginnings. */
import type { ChatMessage } from "../tokenizer/index.js";

export interface Border {
  readonly begin: number;
  readonly end: number;
}

/** The text of the first `count` messages. */
export type Render = (count: number, addGenerationPrompt: boolean) => string;

/** Why a turn has no border. */
export class TurnError extends Error {
  constructor(
    /** "changes": the turn alone, once others follow it. */
    readonly kind: "before" | "endless" | "changes",
    message: string,
  ) {
    super(message);
  }
}

/**
 * Where message `index`, the assistant's, lies in `text`, that of all messages.
 * @throws TurnError
 */
export function borderOf(text: string, messages: readonly ChatMessage[], index: number, render: Render): Border {
  const said = (messages[index]?.content ?? "").trim();
  const asked = render(index, true);
  const through = render(index + 1, false);
  const begin = beginOf(text, asked, through, said, () => render(index, false));
  const before = through.slice(0, begin);
  const turn = through.slice(begin);
  const tail = behind(turn, said);
  if (turn.trimStart().startsWith(said) && endsAlike(before, tail) && render(index + 1, true) === through) {
    throw new TurnError(
      "endless",
      'the chat template begins a new turn behind this one although "add_generation_prompt" is false, so that its ' +
        "end cannot be told",
    );
  }
  const end = text.startsWith(through) ? through.length : endWithin(text, begin, said, tail);
  if (end === undefined)
    throw new TurnError("changes", "the chat template writes this turn differently once others follow it");
  return { begin, end };
}

/**
 * Behind the generation prompt where the turn is written with all of it, and behind what it is written with otherwise:
 * a prompt may open a block of thoughts that a turn without thoughts does not have.
 */
function beginOf(text: string, asked: string, through: string, said: string, unasked: () => string): number {
  if (text.startsWith(asked) && through.startsWith(asked)) return asked.length;
  const before = unasked();
  if (!text.startsWith(before) || !through.startsWith(before) || !asked.startsWith(before))
    throw new TurnError(
      "before",
      "the chat template writes what comes before this turn differently once the turn is there",
    );
  return before.length + withoutSharedPrompt(asked.slice(before.length), through.slice(before.length), said);
}

/** How much of the generation prompt a written turn begins with: all of it, or what comes before what was said. */
export function withoutSharedPrompt(prompt: string, turn: string, said: string): number {
  if (turn.startsWith(prompt)) return prompt.length;
  let shared = 0;
  while (shared < prompt.length && prompt[shared] === turn[shared]) shared++;
  const place = said === "" ? -1 : turn.indexOf(said);
  if (place >= 0) return Math.min(shared, place);
  // The same character may begin a mark of the prompt and the turn's own text.
  const open = turn.slice(0, shared).search(/[<[][^>\]]*$/);
  return open < 0 ? shared : open;
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
