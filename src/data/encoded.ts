/** What a line of a data set is in tokens. */
import type { Problem } from "../models/head.js";

/** A label that asks for no loss, as in Hugging Face. */
export const NOT_SCORED = -100;

/** One text in tokens. `labels[t]` is the token that is scored at t, from the logits at t - 1, or `NOT_SCORED`. */
export interface EncodedTokens {
  readonly kind: "tokens";
  readonly ids: Int32Array;
  readonly labels: Int32Array;
}

/** One sequence per choice; each is scored on its tokens from `from` (at least 1, below its length) to its end. */
export interface EncodedChoices {
  readonly kind: "choices";
  readonly choices: readonly { readonly ids: Int32Array; readonly from: number }[];
  readonly label: number;
  /** Of all that count as right, where these are several. @default `label` alone */
  readonly right?: readonly number[];
}

/** Whether a prediction is right. */
export function isRight({ label, right }: EncodedChoices, prediction: number): boolean {
  return right === undefined ? prediction === label : right.includes(prediction);
}

/** A text whose last token gives the scores of labels. */
export interface EncodedLabelled {
  readonly kind: "labelled";
  readonly ids: Int32Array;
  /** An index, a 0 or 1 for each label, or values. */
  readonly labels: readonly number[];
  readonly problem: Problem;
}

/**
 * A text in which an answer stands from token `start` to token `end`, both included; `NOT_SCORED` where there is none.
 */
export interface EncodedSpan {
  readonly kind: "span";
  readonly ids: Int32Array;
  readonly start: number;
  readonly end: number;
}

export type EncodedExample = EncodedTokens | EncodedChoices | EncodedLabelled | EncodedSpan;

export type Truncation = "left" | "right" | "error";

export interface EncodeOptions {
  /** Tokens of the longest sequence. */
  readonly maxLength: number;
  /** From which end of the prompt (of the whole, for a plain text) tokens are dropped. @default "error" */
  readonly truncation?: Truncation;
  /** Of the model. */
  readonly vocabSize: number;
  /** Whether an example in which nothing can be scored passes, as a text of one token. @default false */
  readonly allowUnlabelled?: boolean;
  /** Told the tokens of a sequence that is about to be cut. */
  readonly onCut?: ((tokens: number) => void) | undefined;
}
