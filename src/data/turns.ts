import { at } from "../base/at.js";
import { messageOf } from "../base/guards.js";
import { isZo2Error, Zo2Error } from "../base/errors.js";
import { runNow, type Steps } from "../base/steps.js";
import { type ChatMessage, ChatRenderer, type Tokenizer, type Watched } from "../tokenizer/index.js";
import { type Border, borderOf, type Render, TurnError, withoutSharedPrompt } from "./turn-border.js";

/**
 * A turn of the assistant: message `index` lies in the text from `begin` to below `end` (UTF-16 units), its closing
 * marks included.
 */
export interface Turn {
  readonly index: number;
  readonly begin: number;
  readonly end: number;
}

export interface Turns {
  readonly text: string;
  readonly turns: Turn[];
}

/** What of a line the template gets. */
export interface Conversation {
  readonly messages: readonly ChatMessage[];
  readonly tools?: readonly unknown[] | undefined;
}

/**
 * The conversation in the words of the chat template, and in it what the assistant says: what the template marks by
 * `{% generation %}`, or else from where the template, asked for a generation prompt, stops before the turn, to where
 * it stops behind the turn. Throws `ZO2_ERR_DATA` with `place` and the message where the template does not write a
 * conversation's beginning as it writes it in the whole, so that no such border exists.
 */
export function assistantTurns(tokenizer: Tokenizer, conversation: Conversation, place: string): Turns {
  return runNow(findTurns(tokenizer, conversation, place));
}

/** The same in steps, each of at most one rendering. */
export function* findTurns(tokenizer: Tokenizer, { messages, tools }: Conversation, place: string): Steps<Turns> {
  const asked = <T>(work: () => T): T => {
    try {
      return work();
    } catch (error) {
      throw new Zo2Error(isZo2Error(error) ? error.code : "ZO2_ERR_TOKENIZER", `${place}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  };
  const renderer = asked(() => new ChatRenderer(tokenizer, tools === undefined ? {} : { tools }));
  const whole = asked(() => renderer.watched(messages));
  yield;
  const { text, generated } = whole;
  const indices = messages.flatMap(({ role }, index) => (role === "assistant" ? [index] : []));
  const [first] = generated;
  if (first !== undefined) {
    const turns = generated.map(({ begin, end }, i) => ({
      index: indices[i] ?? at(indices, indices.length - 1),
      begin,
      end,
    }));
    return { text, turns };
  }
  const render: Render = (count, addGenerationPrompt) =>
    count === messages.length && !addGenerationPrompt
      ? text
      : asked(() => renderer.watched(messages.slice(0, count), addGenerationPrompt)).text;
  const named = (index: number, work: () => Border): Border => {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof TurnError)) throw error;
      const advice = "give one example per turn, or prompt and completion";
      throw new Zo2Error("ZO2_ERR_DATA", `${place}: messages[${index}]: ${error.message}; ${advice}`, { cause: error });
    }
  };
  const rounds = roundsOf(whole, messages, indices);
  if (rounds !== undefined) {
    const turns = yield* bySamples(text, messages, indices, rounds, render, named);
    if (turns !== undefined) return { text, turns };
  }
  const turns: Turn[] = [];
  for (const index of indices) {
    turns.push({ index, ...named(index, () => borderOf(text, messages, index, render)) });
    yield;
  }
  return { text, turns };
}

/**
 * Where the template wrote each message of the assistant: the one round of a loop over the messages that wrote anything
 * for it. Undefined where there is no such round for every one, or what it wrote does not have what was said.
 */
function roundsOf(
  { text, rounds }: Watched,
  messages: readonly ChatMessage[],
  indices: readonly number[],
): Map<number, Border> | undefined {
  const found = new Map<number, Border>();
  let last = 0;
  for (const { index, begin, end } of rounds) {
    if (begin === end) continue;
    if (found.has(index) || begin < last) return undefined;
    found.set(index, { begin, end });
    last = end;
  }
  const fits = (index: number) => {
    const round = found.get(index);
    return round !== undefined && text.slice(round.begin, round.end).includes(answerIn(saidIn(messages, index)));
  };
  return indices.every(fits) ? found : undefined;
}

function saidIn(messages: readonly ChatMessage[], index: number): string {
  return (messages[index]?.content ?? "").trim();
}

/** What stands behind the thoughts, which templates leave out of earlier turns. */
function answerIn(said: string): string {
  return said
    .slice(said.lastIndexOf("</") + 1)
    .replace(/^\/[^<>\n]*>/, "")
    .trim();
}

/** What the template begins the assistant's turns with, and whether a written turn begins with all of it. */
interface Opening {
  readonly prompt: string;
  readonly whole: boolean;
}

/**
 * The turns by the rounds that wrote them. The borders of a few turns are looked for as those of every turn would be:
 * the first behind a message of each role, the second, and the last. The others follow from them, so that the number of
 * renderings does not grow with that of turns. Undefined where they do not follow.
 */
function* bySamples(
  text: string,
  messages: readonly ChatMessage[],
  indices: readonly number[],
  rounds: ReadonlyMap<number, Border>,
  render: Render,
  named: (index: number, work: () => Border) => Border,
): Steps<Turn[] | undefined> {
  const roleBefore = (index: number) => messages[index - 1]?.role ?? "";
  const openings = new Map<string, Opening>();
  const exact = new Map<number, Border>();
  let dropped = "";
  for (const index of samplesOf(indices, roleBefore)) {
    const { begin, end } = rounds.get(index) as Border;
    const asked = render(index, true);
    yield;
    if (!asked.startsWith(text.slice(0, begin))) {
      // Either the turn has no border, which is said here, or it is not where its round is.
      named(index, () => borderOf(text, messages, index, render));
      return undefined;
    }
    const prompt = asked.slice(begin);
    if (!openings.has(roleBefore(index)))
      openings.set(roleBefore(index), { prompt, whole: text.startsWith(prompt, begin) });
    let border: Border | undefined;
    try {
      border = borderOf(text, messages, index, (count, add) => (count === index && add ? asked : render(count, add)));
    } catch (error) {
      if (!(error instanceof TurnError) || error.kind !== "changes") named(index, () => rethrown(error));
      // A turn that reads differently once others follow it is still what its round wrote.
      border = { begin: begin + withoutSharedPrompt(prompt, text.slice(begin, end), saidIn(messages, index)), end };
    }
    exact.set(index, border);
    if (index !== messages.length - 1 && border.end <= end) dropped = text.slice(border.end, end);
    yield;
  }
  const turns: Turn[] = [];
  for (const index of indices) {
    const { begin, end } = rounds.get(index) as Border;
    const round = text.slice(begin, end);
    const { prompt, whole } = openings.get(roleBefore(index)) as Opening;
    const shorter = dropped !== "" && round.endsWith(dropped) ? end - dropped.length : end;
    const guess = {
      begin: begin + withoutSharedPrompt(prompt, round, saidIn(messages, index)),
      end: index === messages.length - 1 ? text.length : shorter,
    };
    const known = exact.get(index);
    const differs = known === undefined ? round.startsWith(prompt) !== whole : !sameBorder(known, guess);
    if (differs || guess.begin > guess.end) return undefined;
    turns.push({ index, ...guess });
  }
  return turns;
}

function samplesOf(indices: readonly number[], roleBefore: (index: number) => string): number[] {
  const firstByRole = new Map([...indices].reverse().map((index) => [roleBefore(index), index] as const));
  const all = new Set([...indices.slice(0, 2), ...firstByRole.values(), at(indices, indices.length - 1)]);
  return [...all].sort((a, b) => a - b);
}

function sameBorder(a: Border, b: Border): boolean {
  return a.begin === b.begin && a.end === b.end;
}

function rethrown(error: unknown): never {
  throw error;
}
