/** The prompts of an objective that the caller computes, in tokens. */
import type { ResolvedTrainerOptions } from "../config/trainer.js";
import type { Example } from "../data/index.js";
import { Zo2Error } from "../base/errors.js";
import type { GroupLimits } from "../infer/batching.js";
import { encodePrompt } from "../infer/generate/index.js";
import type { Loaded } from "../loaded.js";

export type Objective = NonNullable<ResolvedTrainerOptions["objective"]>;

/** Of one micro-batch, and of one sequence. */
export interface ObjectiveLimits {
  readonly maxLength: number;
  readonly limits: GroupLimits;
}

/** A prompt in tokens, with the record it came from. */
export interface EncodedPrompt {
  readonly record: Readonly<Record<string, unknown>>;
  readonly ids: Int32Array;
}

/** @throws Zo2Error ZO2_ERR_DATA, ZO2_ERR_LENGTH */
export function encodePrompts(
  { tokenizer, definition }: Loaded,
  examples: readonly Example[],
  { maxLength }: ObjectiveLimits,
): EncodedPrompt[] {
  // One more than the prompt may have: nothing has to follow it.
  const limits = { maxPositions: maxLength + 1, vocabSize: definition.vocabSize };
  return examples.map((example) => {
    const { place } = example;
    if (example.kind !== "prompt") throw new Zo2Error("ZO2_ERR_DATA", `${place}: is no prompt of an objective`);
    return { record: example.record, ids: encodePrompt(tokenizer, example.prompt, place, limits) };
  });
}
