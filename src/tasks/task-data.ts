import { at } from "../base/at.js";
import { Zo2Error } from "../base/errors.js";
import { parseOptions } from "../config/parse.js";
import { type ResolvedTaskOptions, taskEvaluateOptionsSchema, type TaskEvaluateOptions } from "../config/task.js";
import type { TrainerOptions } from "../config/trainer.js";
import type { Dataset, Example } from "../data/index.js";
import { HeldDataset } from "../data/dataset.js";
import { loadedOf } from "../loaded.js";
import type { EvaluateHooks, Model } from "../model.js";
import { ANSWER_END, ANSWER_TOKENS, generateAnswers, promptIds } from "./answers.js";
import { demonstrationSeeds, firstOf } from "./draw.js";
import { choicesExample, demonstrations, promptText, type Read, readRow, trainingExample } from "./examples.js";
import { exactMatch, f1 } from "./metrics.js";
import type { Rows } from "./rows.js";
import type { AnswerExample, Task } from "./task.js";
import { strip } from "./text.js";

/** What an evaluation of a task came to. What the task does not have is null. */
export interface TaskEvaluation {
  readonly task: string;
  readonly shots: number;
  /** Of those below, the one that the task goes by. */
  readonly metric: "accuracy" | "f1";
  /** Share of examples whose best-scored candidate is right. */
  readonly accuracy: number | null;
  /** Mean over the examples, each against its best answer; 0 to 1. */
  readonly f1: number | null;
  /** Share of examples whose answer is one of the right ones. */
  readonly exactMatch: number | null;
  /** Mean cross entropy over the scores of the candidates. */
  readonly loss: number | null;
  readonly examples: number;
  /** Tokens that went through the model. */
  readonly tokens: number;
  readonly seconds: number;
}

/** What makes a model read a task's data, as far as it matters to the data. */
type Reader = Pick<Model, "config">;

/** The start token that MeZO gives to OPT: `<s>`, where the tokenizer has `</s>`. */
const OPT_START = 0;

/** The data of a task, drawn as MeZO draws it. Made by `loadTask`; close it with `close` or `await using`. */
export class TaskData implements AsyncDisposable {
  /** For a `Trainer`, beside its own: how long prompts are cut. */
  readonly options = { truncation: "left" } as const satisfies Partial<TrainerOptions>;

  constructor(
    readonly task: Task,
    private readonly o: ResolvedTaskOptions,
    private readonly rows: Rows,
    private readonly drawn: {
      readonly train: readonly Read[];
      readonly dev: readonly Read[];
      readonly test: readonly Read[];
    },
  ) {}

  get name(): string {
    return this.task.name;
  }

  /** Examples of each part. */
  get sizes(): { readonly train: number; readonly dev: number; readonly test: number } {
    const { train, dev, test } = this.drawn;
    return { train: train.length, dev: dev.length, test: test.length };
  }

  /** What `Trainer.fit` takes, for that model. */
  train(model: Reader): Dataset {
    return this.learned("train", model);
  }

  /** What a trainer's option `evaluation.data` takes: examples like those of training that are not trained on. */
  dev(model: Reader): Dataset {
    return this.learned("dev", model);
  }

  /**
   * An objective that has no gradient, for the trainer's option of that name, and the prompts to fit: minus the mean F1
   * of the answers that the model writes.
   * @throws Zo2Error ZO2_ERR_CONFIG for a task that goes by accuracy
   */
  objective(model: Model, maxLength?: number): { readonly data: Dataset; readonly objective: F1Objective } {
    if (this.task.metric !== "f1")
      throw new Zo2Error("ZO2_ERR_CONFIG", `${this.name}: the objective f1 is for tasks whose answers are generated`);
    const loaded = loadedOf(model);
    const startId = this.startId(model);
    const examples = this.drawn.train.map(({ place, example }): Example => {
      const prompt = { text: promptText(example, ""), place };
      const { answers } = example as AnswerExample;
      return {
        ...{ kind: "prompt", place, record: { answers } },
        prompt: { ids: Array.from(promptIds(loaded, prompt, { maxLength, startId })) },
      };
    });
    const score = ({ record, text }: { readonly record: Readonly<Record<string, unknown>>; readonly text: string }) =>
      f1(strip(text), record["answers"] as string[]);
    return {
      data: new HeldDataset(`${this.name} (train)`, examples),
      objective: {
        from: "text",
        loss: (outputs) => -outputs.reduce((sum, output) => sum + score(output), 0) / outputs.length,
        generate: { maxNewTokens: ANSWER_TOKENS, stop: [ANSWER_END] },
      },
    };
  }

  /**
   * The task's metric on its test examples, with every update that was taken applied.
   * @throws Zo2Error ZO2_ERR_CONFIG; what `model.evaluate` and `model.generateAll` throw
   */
  async evaluate(model: Model, options: TaskEvaluateOptions & EvaluateHooks = {}): Promise<TaskEvaluation> {
    const { signal, onCheck, onChecked, ...rest } = options;
    const { shots, batchSize, maxLength } = parseOptions(taskEvaluateOptionsSchema, rest, "task evaluation options");
    const begun = performance.now();
    const common = { task: this.name, shots, metric: this.task.metric, examples: this.drawn.test.length };
    if (this.task.metric === "accuracy") {
      const hooks = {
        ...(signal === undefined ? {} : { signal }),
        ...(onCheck === undefined ? {} : { onCheck }),
        ...(onChecked === undefined ? {} : { onChecked }),
      };
      const cut = { batchSize, truncation: "left", ...(maxLength === undefined ? {} : { maxLength }) } as const;
      const { accuracy, loss, tokens, seconds } = await model.evaluate(this.shown(model, shots), { ...cut, ...hooks });
      return { ...common, accuracy, loss, f1: null, exactMatch: null, tokens, seconds };
    }
    const loaded = loadedOf(model);
    loaded.session.checkOpen();
    const startId = this.startId(model);
    const prompts: Int32Array[] = [];
    for (const [i, { place, example }] of this.drawn.test.entries()) {
      const text = promptText(example, await this.before(i, shots));
      prompts.push(promptIds(loaded, { text, place }, { maxLength, startId }));
    }
    const { faithful } = this.o;
    const { texts, tokens } = await generateAnswers(loaded, prompts, { batchSize, faithful, signal });
    const mean = (score: (text: string, answers: readonly string[]) => number) =>
      texts.reduce((sum, text, i) => {
        const { answers } = at(this.drawn.test, i).example as AnswerExample;
        return sum + score(strip(text), answers);
      }, 0) / texts.length;
    return {
      ...common,
      ...{ accuracy: null, loss: null, f1: mean(f1), exactMatch: mean((text, all) => Number(exactMatch(text, all))) },
      tokens,
      seconds: (performance.now() - begun) / 1000,
    };
  }

  close(): Promise<void> {
    return Promise.resolve(this.rows[Symbol.asyncDispose]());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private learned(part: "train" | "dev", model: Reader): Dataset {
    const startId = this.startId(model);
    const examples = this.drawn[part].map((read) => trainingExample(this.task, read, startId));
    return new HeldDataset(`${this.name} (${part})`, examples);
  }

  /** The test examples to choose of, each behind demonstrations of its own. */
  private shown(model: Reader, shots: number): Dataset {
    const startId = this.startId(model);
    const { test } = this.drawn;
    const close = () => Promise.resolve();
    return {
      name: `${this.name} (test)`,
      size: test.length,
      at: async (index) => choicesExample(at(test, index), await this.before(index, shots), startId),
      close,
      [Symbol.asyncDispose]: close,
    };
  }

  /** Demonstrations for test example `index`: of the whole training split, whatever is trained on. */
  private async before(index: number, shots: number): Promise<string> {
    if (shots === 0) return "";
    const seed = at(demonstrationSeeds(this.drawn.test.length), index);
    const chosen = firstOf(this.rows.size, shots, seed);
    return demonstrations(await Promise.all(chosen.map(async (i) => readRow(this.task, await this.rows.at(i)))));
  }

  private startId(model: Reader): number | undefined {
    return this.o.faithful && model.config["model_type"] === "opt" ? OPT_START : undefined;
  }
}

/** The trainer's option `objective` for answers by their F1. */
export type F1Objective = Extract<NonNullable<TrainerOptions["objective"]>, { from: "text" }>;
