/** What a task is: where its rows come from, and what the model reads and is asked of each of them. */
import type { TaskRow } from "./row.js";

/** Where the Hub has the data. */
export interface TaskSource {
  /** Id of the data set: "nyu-mll/glue". */
  readonly dataset: string;
  /** Subset of it. @default "": it has but one */
  readonly config?: string;
  /** @default "train" */
  readonly train?: string;
  /** What the task is evaluated on. @default "validation" */
  readonly test?: string;
}

/** A row as one of several candidates behind a prompt. */
export interface ChoiceExample {
  /** What the model reads, without the answer. Spaces at its ends are left out. */
  readonly prompt: string;
  /** What may follow the prompt, with the blank in front where there is one. */
  readonly candidates: readonly string[];
  /** Indices of the candidates that are right, at least one: the first is learned, and shown in demonstrations. */
  readonly right: readonly number[];
}

/** A row as a prompt that the model continues. */
export interface AnswerExample {
  readonly prompt: string;
  /** What is learned behind the prompt, and shown in demonstrations: one of `answers`, as it is written there. */
  readonly completion: string;
  /** Texts that count as right, at least one. */
  readonly answers: readonly string[];
}

interface TaskBase {
  /** By which `loadTask` finds it: lower-case letters, digits, dashes. */
  readonly name: string;
  readonly source: TaskSource;
  /** Examples that training, selection and evaluation take, where no option says so. */
  readonly sizes?: Partial<TaskSizes>;
}

export interface TaskSizes {
  /** Drawn of the training split. @default 1000 */
  readonly train: number;
  /** Drawn of the training split too, to select by. @default 500 */
  readonly dev: number;
  /** Drawn of the test split. @default 1000 */
  readonly test: number;
}

/** Chosen among candidates by the mean log-probability of their tokens. */
export interface ChoiceTask extends TaskBase {
  readonly metric: "accuracy";
  /**
   * What training makes small: `"choices"`, cross entropy over the candidates' scores; `"answer"`, that of the right
   * candidate's tokens.
   */
  readonly loss: "choices" | "answer";
  /** Throws `ZO2_ERR_DATA` for a row that it cannot use; the row's own readers do. */
  read(row: TaskRow): ChoiceExample;
}

/** Generated greedily; learned by cross entropy on the tokens of the completion. */
export interface AnswerTask extends TaskBase {
  readonly metric: "f1";
  read(row: TaskRow): AnswerExample;
}

export type Task = ChoiceTask | AnswerTask;
