import {
  encodeExample,
  packBatch,
  type EncodedExample,
  type Example,
  type Reduction,
  type Truncation,
} from "../data/index.js";
import type { Batch } from "../memory/batch-tables.js";
import type { Tokenizer } from "../tokenizer/index.js";

export interface EncodeBatchOptions {
  readonly maxLength: number;
  readonly truncation: Truncation;
  readonly reduction: Reduction;
  readonly vocabSize: number;
  /** Examples of one micro-batch at most. */
  readonly microBatchSize: number;
  /** Tokens of one micro-batch at most; a single example may exceed it. */
  readonly maxTokens: number;
}

/** Tokens that an example puts on the device at most: choices share what they have in common. */
function tokenCount(example: EncodedExample): number {
  return example.kind === "choices" ? example.choices.reduce((sum, c) => sum + c.ids.length, 0) : example.ids.length;
}

/** Encodes examples and packs them into micro-batches, in order. */
export function encodeBatch(
  tokenizer: Tokenizer | null,
  examples: readonly Example[],
  options: EncodeBatchOptions,
): Batch {
  const { maxLength, truncation, vocabSize, reduction } = options;
  const encoded = examples.map((example) => encodeExample(tokenizer, example, { maxLength, truncation, vocabSize }));
  return groupByTokens(encoded, tokenCount, options).map((group) => packBatch(group, { reduction }));
}

/** Cuts items into micro-batches, in order, by their number and their tokens. */
export function groupByTokens<T>(
  items: readonly T[],
  tokenCountOf: (item: T) => number,
  limits: Pick<EncodeBatchOptions, "microBatchSize" | "maxTokens">,
): T[][] {
  const all: T[][] = [];
  let tokens = 0;
  for (const example of items) {
    const group = all.at(-1);
    const count = tokenCountOf(example);
    if (group === undefined || group.length >= limits.microBatchSize || tokens + count > limits.maxTokens) {
      all.push([example]);
      tokens = count;
    } else {
      group.push(example);
      tokens += count;
    }
  }
  return all;
}
