/** A task's example as the data room has it: what stands before the prompt, where the answer begins. */
import { at } from "../base/at.js";
import { type Example, LineError } from "../data/index.js";
import { TaskRow } from "./row.js";
import type { PlacedRecord } from "../data/records.js";
import type { AnswerExample, ChoiceExample, Task } from "./task.js";
import { strip, stripSpaces, stripStart } from "./text.js";

/** Between demonstrations, and before the prompt. */
const SEPARATOR = "\n\n";

/** What a task has read of a row, and where that stands. */
export interface Read {
  readonly place: string;
  readonly example: ChoiceExample | AnswerExample;
}

/** @throws Zo2Error ZO2_ERR_DATA that names the row */
export function readRow(task: Task, placed: PlacedRecord): Read {
  const example = task.read(new TaskRow(placed));
  const { place } = placed;
  if (stripSpaces(example.prompt) === "") throw new LineError("shape", place, "the prompt is empty");
  if (isChoice(example)) {
    const { candidates, right } = example;
    const valid = right.length > 0 && right.every((index) => candidates[index] !== undefined);
    if (candidates.length < 1 || !valid)
      throw new LineError("label", place, `of ${candidates.length} candidates ${JSON.stringify(right)} are right`);
  }
  return { place, example };
}

function isChoice(example: ChoiceExample | AnswerExample): example is ChoiceExample {
  return "candidates" in example;
}

/** What is learned of an example: the right candidate, or the completion. */
function rightText(example: ChoiceExample | AnswerExample): string {
  return isChoice(example) ? at(example.candidates, at(example.right, 0)) : example.completion;
}

/** Examples with their answers, as they stand before a prompt; "" for none. */
export function demonstrations(shown: readonly Read[]): string {
  return strip(shown.map(({ example }) => strip(example.prompt + rightText(example))).join(SEPARATOR));
}

/** The text of a prompt behind demonstrations. */
export function promptText(example: ChoiceExample | AnswerExample, before: string): string {
  const { prompt, front } = framed(example.prompt, before);
  return (front ?? "") + prompt;
}

/** Without demonstrations nothing blank stands at the front. */
function framed(prompt: string, before: string): { readonly prompt: string; readonly front: string | undefined } {
  const stripped = stripSpaces(prompt);
  return before === ""
    ? { prompt: stripStart(stripped), front: undefined }
    : { prompt: stripped, front: before + SEPARATOR };
}

/** How the prompt and its answer are stripped as one, what of that lies behind the stripped prompt. */
function continuation(prompt: string, answer: string): string {
  return stripSpaces(prompt + answer).slice(stripSpaces(prompt).length);
}

/** An example to learn: with its candidates, or with the right answer alone. */
export function trainingExample(task: Task, read: Read, startId: number | undefined): Example {
  const { example, place } = read;
  if (task.metric === "accuracy" && task.loss === "choices") return choicesExample(read, "", startId);
  const { prompt } = framed(example.prompt, "");
  const completion = continuation(example.prompt, rightText(example));
  return { kind: "completion", place, prompt, completion, border: "counted", startId };
}

/** An example to choose of, behind demonstrations. */
export function choicesExample({ place, example }: Read, before: string, startId: number | undefined): Example {
  if (!isChoice(example)) throw new Error("no candidates to choose of");
  const { prompt, front } = framed(example.prompt, before);
  const { right } = example;
  return {
    ...{ kind: "choices", place, prompt, border: "counted", startId, before: front },
    choices: example.candidates.map((candidate) => continuation(example.prompt, candidate)),
    label: at(right, 0),
    ...(right.length > 1 ? { right } : {}),
  };
}
