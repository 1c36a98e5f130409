/**
 * Ending early in an orderly way, whoever asks for it: SIGINT, SIGTERM, SIGHUP, or a reader of standard output that has
 * gone. Whoever asks first aborts `Context.signal` with a `StopRequest` as its reason. What a command does then is its
 * own affair (`train` finishes the step in hand and saves); its exit code is that of the request. A second signal ends
 * the process at once.
 *
 * Process 1 of a container gets only signals that it listens to: nothing here relies on what a signal does by default.
 * Only the command line listens; the library never does.
 */
import { constants } from "node:os";
import { basename } from "node:path";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
export type StopSignal = (typeof SIGNALS)[number];

/** A terminal's Ctrl-C reaches npm and the command that it started, and npm passes it on: one press, two signals. */
const PASSED_ON_MS = 300;

/** Why the work is to end: the reason of an aborted `Context.signal`. */
export class StopRequest extends Error {
  override readonly name = "StopRequest";
  /** 128 + the number of the signal; of SIGPIPE where nobody reads any more. */
  readonly exitCode: number;

  constructor(readonly by: StopSignal | "SIGPIPE") {
    super(by === "SIGPIPE" ? "standard output was closed" : `stopped by ${by}`);
    this.exitCode = exitCodeOfSignal(by);
  }
}

/** The request that `signal` was aborted with; that of Ctrl-C where it was aborted with something else. */
export function stopOf(signal: AbortSignal): StopRequest | undefined {
  if (!signal.aborted) return undefined;
  return signal.reason instanceof StopRequest ? signal.reason : new StopRequest("SIGINT");
}

/** Listens from its making to its disposal. */
export class Stopping implements Disposable {
  private readonly controller = new AbortController();
  private readonly listeners = new Map<StopSignal, () => void>();
  private lastInterrupt = -Infinity;
  private signalled = false;

  constructor(
    private readonly stderr: { write(text: string): unknown; readonly isTTY?: boolean | undefined },
    private readonly env: NodeJS.ProcessEnv = process.env,
  ) {
    for (const by of SIGNALS) {
      // Node listens to what nohup(1) has turned off, so that it has to be turned off again.
      const deaf = by === "SIGHUP" && basename(env["_"] ?? "") === "nohup";
      const listener = deaf ? () => undefined : () => this.received(by);
      this.listeners.set(by, listener);
      process.on(by, listener);
    }
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** The first request counts. */
  request(stop: StopRequest): void {
    this.controller.abort(stop);
  }

  private received(by: StopSignal): void {
    if (by === "SIGINT" && this.wasPassedOn()) return;
    if (this.signalled) {
      // A bar may have hidden the cursor and turned line wrapping off.
      if (this.stderr.isTTY === true) this.stderr.write("\u001b[?25h\u001b[?7h\n");
      process.exit(exitCodeOfSignal(by));
    }
    this.signalled = true;
    const again = by === "SIGINT" ? "press Ctrl-C again" : "send it again";
    const lead = by === "SIGINT" ? (this.stderr.isTTY === true ? "\n" : "") : `${by}: `;
    this.stderr.write(`${lead}stopping when the work in hand is done; ${again} to stop at once\n`);
    this.request(new StopRequest(by));
  }

  private wasPassedOn(): boolean {
    const now = performance.now();
    const since = now - this.lastInterrupt;
    this.lastInterrupt = now;
    return this.env["npm_command"] !== undefined && this.stderr.isTTY === true && since < PASSED_ON_MS;
  }

  [Symbol.dispose](): void {
    for (const [by, listener] of this.listeners) process.off(by, listener);
    this.listeners.clear();
  }
}

function exitCodeOfSignal(by: StopSignal | "SIGPIPE"): number {
  return 128 + constants.signals[by];
}
