/** Standard output and standard error that say when they fail, and lose nothing quietly. */
import { fstatSync, writeSync } from "node:fs";
import { Writable } from "node:stream";
import { isatty } from "node:tty";
import { Zo2Error } from "../base/errors.js";
import { errnoOf, messageOf } from "../base/guards.js";
import type { OutputStream } from "../report/terminal.js";

/** Nobody reads standard output any more, as in `zo2 generate | head -1`. No failure: the reader had enough. */
export class ClosedOutput extends Error {
  override readonly name = "ClosedOutput";
}

const CLOSED = new Set(["EPIPE", "ECONNRESET", "ERR_STREAM_DESTROYED"]);

export type TextStream = OutputStream & NodeJS.WritableStream;

/**
 * `stream`, which is `process.stdout` or `process.stderr`, such that a failed write is no uncaught error: each write's
 * callback has it. Node's own stream for files drops what a nearly full disk did not take of a write.
 */
export function openOutput(stream: NodeJS.WriteStream & { fd: number }): TextStream {
  const opened = isPlainFile(stream.fd) ? new FileOutput(stream.fd) : stream;
  opened.on("error", () => undefined);
  return opened;
}

/** A file or a device that is no terminal. */
function isPlainFile(fd: number): boolean {
  if (isatty(fd)) return false;
  const info = fstatSync(fd);
  return !info.isFIFO() && !info.isSocket();
}

/** Every write stands for itself: after one that failed the next one is tried. */
class FileOutput extends Writable {
  constructor(private readonly fd: number) {
    super();
  }

  override write(chunk: unknown, encoding?: unknown, done?: unknown): boolean {
    const callback = (typeof encoding === "function" ? encoding : done) as ((error?: unknown) => void) | undefined;
    const bytes = chunk instanceof Uint8Array ? chunk : Buffer.from(String(chunk));
    let failure: unknown;
    try {
      for (let written = 0; written < bytes.length; ) written += writeSync(this.fd, bytes, written);
    } catch (error) {
      failure = error;
    }
    queueMicrotask(() => callback?.(failure));
    return true;
  }
}

/**
 * Writes to standard output, and resolves when that is done.
 * @throws ClosedOutput where nobody reads it, Zo2Error ZO2_ERR_IO where it cannot be written
 */
export async function writeText(stream: TextStream, text: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    stream.write(text, (error) => {
      if (error === null || error === undefined) resolve();
      else reject(outputError(error, stream.isTTY === true));
    });
  });
}

/** Writes one line; see `writeText`. */
export function writeLine(stream: TextStream, line: string): Promise<void> {
  return writeText(stream, `${line}\n`);
}

function outputError(error: unknown, terminal: boolean): Error {
  const code = errnoOf(error) ?? "";
  // EIO: the terminal has gone.
  if (CLOSED.has(code) || (terminal && code === "EIO")) return new ClosedOutput(messageOf(error), { cause: error });
  return new Zo2Error(
    "ZO2_ERR_IO",
    `standard output cannot be written: ${messageOf(error)}; what has been written is not all: make room, or write ` +
      "somewhere else",
    { cause: error },
  );
}

/**
 * Whether both are one file, as in `2>&1 | head`: then nobody reads standard output any more where a remark meets a
 * closed pipe. A pipe of its own says so only when a result is written.
 */
export function isSameFile(one: number, other: number): boolean {
  const [a, b] = [fstatSync(one), fstatSync(other)];
  return a.ino === b.ino && a.dev === b.dev;
}
