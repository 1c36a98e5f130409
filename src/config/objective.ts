import { z } from "zod";
import { byteSizeSchema } from "./bytes.js";
import { generateOptionsSchema } from "./generate.js";

/** The record that a data set holds, and what the model made of it. */
export interface LogitOutput {
  /** The line of the data set, as it was parsed. */
  readonly record: Readonly<Record<string, unknown>>;
  /** Token ids of the prompt. */
  readonly ids: readonly number[];
  /** Tokens of `ids` behind which logits were asked for. */
  readonly positions: readonly number[];
  /** For each position, [vocabulary] fp32: the scores of what follows that token. */
  readonly logits: readonly Float32Array[];
}

/** The record that a data set holds, and what the model wrote behind its prompt. */
export interface TextOutput {
  readonly record: Readonly<Record<string, unknown>>;
  /** Token ids of the prompt. */
  readonly ids: readonly number[];
  /** Token ids that were generated. */
  readonly generated: readonly number[];
  /** Their text; empty without a tokenizer. */
  readonly text: string;
}

/** Where an objective is asked: one evaluation of one step. */
export interface ObjectiveContext {
  /** From 0. */
  readonly step: number;
  /** The side of the direction that the weights stand to; `"weights"`: they are in their place. */
  readonly branch: "plus" | "minus" | "weights";
  /** Which of the step's directions, from 0; null in their place. */
  readonly direction: number | null;
}

const functionOf = <F>(what: string) =>
  z.custom<F>((value) => typeof value === "function", { error: `must be ${what}` });

const logitObjective = z.strictObject({
  from: z.literal("logits"),
  /** The loss of the batch, to be made small; any finite number. */
  loss: functionOf<(outputs: readonly LogitOutput[], context: ObjectiveContext) => number | Promise<number>>(
    "a function of the logits",
  ),
  /** The tokens of a prompt behind which the logits are wanted, ascending. @default the last one */
  positions:
    functionOf<(ids: readonly number[], record: Readonly<Record<string, unknown>>) => readonly number[]>(
      "a function of the ids",
    ).optional(),
  /** Most bytes of logits that a step may bring to host memory, all evaluations together. @default "256MiB" */
  maxBytes: byteSizeSchema.default(256 * 2 ** 20),
});

const textObjective = z.strictObject({
  from: z.literal("text"),
  /** The loss of the batch, to be made small; any finite number. */
  loss: functionOf<(outputs: readonly TextOutput[], context: ObjectiveContext) => number | Promise<number>>(
    "a function of the texts",
  ),
  /**
   * How text is generated, as for `model.generate`; all evaluations of a step draw alike. @default greedy, at most 64
   * tokens
   */
  generate: generateOptionsSchema.prefault({ maxNewTokens: 64 }),
});

/**
 * An objective computed in TypeScript: of logits, or of generated text. Zeroth order asks for no gradient of it, so it
 * may be any metric.
 */
export const objectiveSchema = z.discriminatedUnion("from", [logitObjective, textObjective]);
