import { types } from "node:util";

/**
 * Every error that zo2 raises on purpose. Codes are stable: programs may match on them.
 * `docs/errors.md` lists the same codes; a test holds the two together.
 */
export const ERROR_CODES = {
  ZO2_ERR_CONFIG: "an option is missing, unknown, of the wrong type or out of range",
  ZO2_ERR_MODEL_UNSUPPORTED:
    "the model's architecture, or a field of its config.json or of an adapter's, is not supported",
  ZO2_ERR_CHECKPOINT: "a checkpoint file is missing, truncated, inconsistent or holds values that cannot be used",
  ZO2_ERR_TOKENIZER: "the tokenizer's files are missing or cannot be read",
  ZO2_ERR_DATA: "a line of a data set cannot be used, or the data set is empty",
  ZO2_ERR_LENGTH: "a sequence is longer than the model's positions or the length that was set",
  ZO2_ERR_MEMORY_BUDGET: "the plan does not fit in the memory that was allowed",
  ZO2_ERR_OUT_OF_MEMORY: "an allocation failed",
  ZO2_ERR_IO: "a file could not be read or written",
  ZO2_ERR_JOURNAL: "a run's journal is damaged, of another version, in use, or of another run than what is asked for",
  ZO2_ERR_NOT_FINITE: "a loss, a projected gradient or a weight is not a finite number",
  ZO2_ERR_DIVERGED: "the losses or coefficients of a run are not those of a training that works",
  ZO2_ERR_ABORTED: "the work was stopped by its AbortSignal",
  ZO2_ERR_DISPOSED: "the object was used after it was disposed",
  ZO2_ERR_BUSY: "the object is in use by other work",
  ZO2_ERR_ADDON: "the native addon could not be loaded",
  ZO2_ERR_DEVICE: "the device is not there, or a command on it failed",
  ZO2_ERR_INVALID_ARGUMENT: "a call got an argument it cannot work with",
  ZO2_ERR_HANDLE: "a native handle of one kind was given where another is needed",
  ZO2_ERR_CANCELLED: "the device was closed before the command ran",
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/**
 * The error class of the package. `message` says what was wrong, where, and what to do; `code` is stable.
 */
export class Zo2Error extends Error {
  override readonly name = "Zo2Error";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** Whether `value` is an error with one of our codes (from this package or from its native part). */
export function isZo2Error(value: unknown): value is Error & { code: ErrorCode } {
  // Native errors may come from another realm, where `instanceof` fails.
  return (
    types.isNativeError(value) &&
    "code" in value &&
    typeof value.code === "string" &&
    Object.hasOwn(ERROR_CODES, value.code)
  );
}
