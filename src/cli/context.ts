import type { Api } from "./api.js";
import type { OutputStream } from "../report/terminal.js";

export interface BuildAddonOptions {
  /** Also where nothing has changed since the last build. */
  readonly force: boolean;
  /** Errors only. */
  readonly quiet: boolean;
  /** Keep standard output free. */
  readonly toStderr: boolean;
}

/** Where a command reads, writes and finds the package. */
export interface Context {
  /** Loads the package and its addon; only commands that compute call it, so that `--help` works without an addon. */
  readonly loadApi: () => Promise<Api>;
  /** Compiles the addon in the package; says how far it is, and what is missing. @returns whether it was built */
  readonly buildAddon: (options: BuildAddonOptions) => Promise<boolean>;
  readonly stdin: AsyncIterable<Uint8Array | string>;
  /** Results. */
  readonly stdout: OutputStream & NodeJS.WritableStream;
  /** Everything for people. */
  readonly stderr: OutputStream & NodeJS.WritableStream;
  /** Aborted at the first SIGINT. */
  readonly signal: AbortSignal;
  /** The folder of the installed package. */
  readonly packageRoot: string;
  readonly version: string;
}

/** Writes one line and waits while the stream's buffer is full. */
export function writeLine(stream: NodeJS.WritableStream, line: string): Promise<void> {
  return writeText(stream, `${line}\n`);
}

/** Writes text and waits while the stream's buffer is full. */
export async function writeText(stream: NodeJS.WritableStream, text: string): Promise<void> {
  if (stream.write(text)) return;
  await new Promise<void>((resolve, reject) => {
    const settle = (error?: Error) => {
      stream.off("drain", settle).off("error", settle).off("close", settle);
      if (error === undefined) resolve();
      else reject(error);
    };
    stream.once("drain", settle).once("error", settle).once("close", settle);
  });
}
