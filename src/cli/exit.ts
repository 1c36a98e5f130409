import { CommanderError } from "commander";
import { DataError } from "../data/index.js";
import { isZo2Error } from "../base/errors.js";
import type { StopRequest } from "./signals.js";
import { ClosedOutput } from "./streams.js";

/** The exit codes of `zo2`; what was stopped has that of its `StopRequest`. */
export const EXIT = { ok: 0, failure: 1, usage: 2 } as const;

/** The exit code that an error of a command leads to; `stop`: what it may have been stopped by. */
export function exitCodeOf(error: unknown, stop: StopRequest | undefined): number {
  if (error instanceof ClosedOutput) return EXIT.ok;
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (!isZo2Error(error)) return EXIT.failure;
  if (error.code === "ZO2_ERR_CONFIG") return EXIT.usage;
  return isStopped(error) && stop !== undefined ? stop.exitCode : EXIT.failure;
}

export function isStopped(error: unknown): boolean {
  return isZo2Error(error) && error.code === "ZO2_ERR_ABORTED";
}

/**
 * An error as one line, `ZO2_ERR_...: what, where, what to do`, and one more for each line of a data set that is wrong;
 * its stack and causes follow with `debug`. That the addon is missing is said in two lines, what was tried to load it
 * in more.
 */
export function describeError(error: unknown, debug: boolean): string {
  const text = inLines(error, headline(error).trim());
  return debug && error instanceof Error ? `${text}\n${stackOf(error)}` : text;
}

function inLines(error: unknown, text: string): string {
  if (isListing(error)) return text.replace(/\n/g, "\n  ");
  return isZo2Error(error) && error.code === "ZO2_ERR_ADDON" ? text : text.replace(/\s*\n\s*/g, " ");
}

/** Also in the words of the flags. */
function isListing(error: unknown): boolean {
  return error instanceof DataError || (error instanceof Error && error.cause instanceof DataError);
}

function headline(error: unknown): string {
  if (isZo2Error(error)) return `${error.code}: ${error.message}`;
  if (error instanceof CommanderError)
    return (
      "ZO2_ERR_CONFIG: " +
      `${error.message.replace(/^error: /, "").replace(/\n?\(Did you mean (.*)\?\)/s, "; did you mean $1?")}`
    );
  if (error instanceof Error && "code" in error && "syscall" in error) return `ZO2_ERR_IO: ${error.message}`;
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return `unexpected ${message}; this is a defect of zo2: run again with --debug and report what it prints`;
}

function stackOf(error: Error): string {
  const own = error.stack ?? String(error);
  return error.cause instanceof Error ? `${own}\ncaused by: ${stackOf(error.cause)}` : own;
}
