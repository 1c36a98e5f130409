import { CommanderError } from "commander";
import { DataError } from "../data/index.js";
import { isZo2Error } from "../base/errors.js";

/** The exit codes of `zo2`. */
export const EXIT = { ok: 0, failure: 1, usage: 2, interrupted: 130 } as const;

/** The exit code that an error of a command leads to. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (!isZo2Error(error)) return EXIT.failure;
  if (error.code === "ZO2_ERR_CONFIG") return EXIT.usage;
  return error.code === "ZO2_ERR_ABORTED" ? EXIT.interrupted : EXIT.failure;
}

/**
 * An error as one line, `ZO2_ERR_...: what, where, what to do`, and one more for each line of a data set that is wrong;
 * its stack and causes follow with `debug`. That the addon is missing is said in two lines, what was tried to load it in
 * more.
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

/** Leaves quietly when whoever reads our output has gone: `zo2 score | head -1`. */
export function exitQuietlyOnBrokenPipe(stream: NodeJS.WritableStream): void {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(EXIT.ok);
    throw error;
  });
}

/** A signal that the first SIGINT aborts; the second ends the process at once. */
export function interruptSignal(stderr: NodeJS.WriteStream): AbortSignal {
  const controller = new AbortController();
  process.on("SIGINT", () => {
    if (controller.signal.aborted) {
      // A bar may have hidden the cursor and turned line wrapping off.
      if (stderr.isTTY) stderr.write("\u001b[?25h\u001b[?7h\n");
      process.exit(EXIT.interrupted);
    }
    stderr.write(
      `${stderr.isTTY ? "\n" : ""}stopping when the work in hand is done; press Ctrl-C again to stop at once\n`,
    );
    controller.abort();
  });
  return controller.signal;
}
