/**
 * What a program or a person should know although the work goes on. Codes are stable; `docs/errors.md` lists the same,
 * and a test holds the two together.
 */
export const WARNING_CODES = {
  ZO2_WARN_UNTIED_HEAD: "config.json ties the head to the embedding, and the checkpoint has a head with other values",
  ZO2_WARN_INDEX: "the index of a checkpoint and its shards do not agree, in what nothing needs or in what was found",
  ZO2_WARN_ROUNDING:
    "a run goes on with another device, build or cut into units, and its steps may be rounded differently from here on",
  ZO2_WARN_SNAPSHOT: "a snapshot of a run could not be written or used, and the run goes on without it",
  ZO2_WARN_LANES: "the lanes of a step of a run could not be kept, and its report has no picture of them",
  ZO2_WARN_DIVERGED: "a guard has spoken, and steps of a run were dropped",
  ZO2_WARN_SKIPPED_STEP: "the losses of a step were equal along all of its directions, and it goes along none",
  ZO2_WARN_LEARNING_RATE: "the losses that a learning rate was chosen by do not agree, so that it may be a bad one",
  ZO2_WARN_LOST_UPDATES: "rounding to nearest undoes most updates of a run's weights",
  ZO2_WARN_DISK:
    "weights on disk are in a folder that is kept in memory, or what a run has left of them is not kept or not used",
  ZO2_WARN_MIXED_DTYPES: "the matrices of a checkpoint are not all stored in one dtype",
} as const;

export type WarningCode = keyof typeof WARNING_CODES;

export interface Warning {
  readonly code: WarningCode;
  /** What was found, where, and what is done with it. */
  readonly message: string;
}

/** `"a", "b" and 7 more`: the first of `names`, quoted. */
export function someOf(names: readonly string[], most = 4): string {
  const shown = names.slice(0, names.length > most + 1 ? most : most + 1).map((name) => JSON.stringify(name));
  const left = names.length - shown.length;
  return left === 0 ? shown.join(", ") : `${shown.join(", ")} and ${left} more`;
}

/** Where nobody has asked to see warnings. */
export function emitWarning({ code, message }: Warning): void {
  process.emitWarning(message, { type: "Zo2Warning", code });
}
