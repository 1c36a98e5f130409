import { LineError } from "./issue.js";

/** Throws `ZO2_ERR_DATA` at the first of `ids` that is not an integer from 0 to below `vocabSize`. */
export function checkIds(ids: ArrayLike<unknown>, place: string, vocabSize = 2 ** 31): void {
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i];
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= vocabSize) {
      throw new LineError(
        "tokens",
        place,
        `ids[${i}] is ${typeof id === "string" ? JSON.stringify(id) : String(id)}; token ids are ` +
          "integers from " +
          `0 to ${vocabSize - 1}`,
      );
    }
  }
}
