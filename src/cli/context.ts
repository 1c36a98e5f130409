import type { Api } from "./api.js";
import type { TextStream } from "./streams.js";

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
  readonly stdout: TextStream;
  /** Everything for people. */
  readonly stderr: TextStream;
  /** Aborted when the work is to end early; the reason is a `StopRequest`. */
  readonly signal: AbortSignal;
  /** The folder of the installed package. */
  readonly packageRoot: string;
  readonly version: string;
}
