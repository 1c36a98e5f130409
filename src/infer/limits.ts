import { Zo2Error } from "../base/errors.js";

const DEFAULT_SEQUENCES = 8;

/** @throws Zo2Error ZO2_ERR_LENGTH past the model's positions */
export function checkLength(maxLength: number | undefined, maxPositions: number): number {
  const length = maxLength ?? maxPositions;
  if (length > maxPositions) {
    throw new Zo2Error(
      "ZO2_ERR_LENGTH",
      `maxLength is ${length}, the model has ${maxPositions} positions; lower option "maxLength"`,
    );
  }
  return length;
}

/** Tokens of one micro-batch at most. @param asked what the caller set, if anything. */
export function microBatchTokens(asked: number | undefined, maxLength: number): number {
  return asked ?? DEFAULT_SEQUENCES * maxLength;
}
