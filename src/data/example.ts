/** What one line of a data set can be. */
import type { HeadSpec, Problem } from "../models/head.js";
import type { ChatMessage } from "../tokenizer/index.js";
import type { LabelMap } from "./label.js";
import type { Template } from "./template.js";
import type { UnknownFields } from "./unknown-fields.js";

/**
 * What stands before the model's own tokens: text (with the model's special tokens), ids as they are, or a
 * conversation.
 */
export type Prompt =
  | { readonly text: string }
  | { readonly ids: readonly number[] }
  | { readonly messages: readonly ChatMessage[]; readonly tools?: readonly unknown[] };

interface Placed {
  /** Where it comes from ("train.jsonl:17", "examples[3]"), for messages. */
  readonly place: string;
}

/** How a text begins, where it is not by the tokenizer alone. */
interface Begun {
  /** Stands in place of the tokenizer's start token. @default none: the start token stays */
  readonly startId?: number | undefined;
}

/** A prompt with what follows it. Tasks say more of it than lines can. */
interface Continued extends Begun {
  readonly prompt: string;
  /** Text in front of the prompt, such as demonstrations. @default "" */
  readonly before?: string | undefined;
  /**
   * Where a continuation begins in tokens: behind those that all sequences share with the prompt alone, or, as MeZO
   * counts, behind as many as the prompt alone has, which is without `before`. @default "shared"
   */
  readonly border?: "shared" | "counted" | undefined;
}

/** One example, in one of the shapes that a line may have. */
export type Example = Placed &
  (
    | ({ readonly kind: "text"; readonly text: string } & Begun)
    | { readonly kind: "ids"; readonly ids: readonly number[] }
    | ({ readonly kind: "completion"; readonly completion: string } & Continued)
    | ({
        readonly kind: "choices";
        readonly choices: readonly string[];
        /** Index of the right choice. */
        readonly label: number;
        /** Of all that count as right, where these are several. @default `label` alone */
        readonly right?: readonly number[];
      } & Continued)
    | {
        readonly kind: "labelled";
        readonly input: string | readonly number[];
        readonly labels: readonly number[];
        readonly problem: Problem;
      }
    | {
        readonly kind: "span";
        readonly input: { readonly question: string; readonly context: string } | readonly number[];
        /**
         * Characters of the context (end excluded), or tokens of the ids (end included); null: the text has no answer.
         */
        readonly answer: { readonly start: number; readonly end: number } | null;
      }
    /** For an objective that the caller computes from the model's answer to it. */
    | { readonly kind: "prompt"; readonly prompt: Prompt; readonly record: Readonly<Record<string, unknown>> }
    | {
        readonly kind: "messages";
        /** At least one is the assistant's, and not the first. */
        readonly messages: readonly ChatMessage[];
        /** Descriptions of tools, for the chat template. */
        readonly tools?: readonly unknown[];
      }
  );

/** Shapes of examples for language models, told apart by their fields. */
export type ExampleKind = Exclude<Example["kind"], "labelled" | "span" | "prompt">;

export interface ExampleOptions {
  readonly template?: Template | undefined;
  /** What the labels of lines mean; it decides alone. @default none: an index, a choice by name, true or false */
  readonly labelMap?: LabelMap | undefined;
  /** Whether lines are prompts of an objective that the caller computes. @default false */
  readonly prompts?: boolean | undefined;
  /** What the model predicts, which decides the shapes. @default the next token */
  readonly head?: HeadSpec | undefined;
  /** Ids must be below it. */
  readonly vocabSize?: number | undefined;
  /** Where fields are noted that nothing reads. */
  readonly unknown?: UnknownFields | undefined;
  /** The shapes that are of use; others are errors. @default all */
  readonly accept?: readonly ExampleKind[];
}

/** Turns a parsed line into an example. Throws `ZO2_ERR_DATA` beginning with `place`. */
export type ExampleParser = (record: unknown, place: string) => Example;
