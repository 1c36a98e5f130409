/** Choices that their scores cannot tell apart, although their texts may differ. */
import type { Reduction } from "./batch.js";
import { type EncodedChoices, isRight } from "./encoded.js";
import { LineError } from "./issue.js";
import { commonPrefix } from "./tokens.js";

/**
 * What is to be said of choices that begin alike: with the sum as their score, one that goes on where another ends
 * never scores higher than that. Undefined where nothing is; throws `ZO2_ERR_DATA` beginning with `place` where a wrong
 * choice is the right one, token for token.
 */
export function choicesRemark(example: EncodedChoices, reduction: Reduction, place: string) {
  const { choices, label } = example;
  const right = choices[label]?.ids ?? new Int32Array(0);
  let remark: string | undefined;
  for (const [i, { ids }] of choices.entries()) {
    if (isRight(example, i) || commonPrefix(ids, right) < ids.length) continue;
    if (ids.length === right.length)
      throw new LineError("choices", place, `choices ${label} (the right one) and ${i} are the same tokens`);
    if (reduction === "sum")
      remark ??=
        `choice ${label} (the right one) goes on where choice ${i} ends, so that it cannot score higher with option ` +
        '"reduction" = "sum"';
  }
  return remark;
}
