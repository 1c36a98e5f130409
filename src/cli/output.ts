import { lookOf, type Look } from "../report/terminal.js";
import type { Context } from "./context.js";
import type { Flags } from "./flags.js";
import { stopOf } from "./signals.js";
import { writeLine } from "./streams.js";

/** Where a command's words go: progress and remarks to standard error, results to standard output. */
export class Output {
  private readonly context: Context;
  private readonly json: boolean;
  /** Whether to show no progress at all. */
  readonly quiet: boolean;

  constructor(context: Context, flags: Flags) {
    this.context = context;
    this.json = flags.json === true;
    this.quiet = flags.quiet === true;
  }

  /** What the stream that shows a result's text can show. */
  get look(): Look {
    return lookOf(this.json ? this.context.stderr : this.context.stdout);
  }

  /** A remark for people; nothing with `--quiet`. */
  say(text: string): void {
    if (!this.quiet) this.context.stderr.write(`${text}\n`);
  }

  /**
   * The result of the command: with `--json` one line of it, and `lines` as a remark; else `lines`. Where nobody reads
   * results any more they become a remark.
   */
  async result(lines: readonly string[], json: Readonly<Record<string, unknown>>): Promise<void> {
    const unread = stopOf(this.context.signal)?.by === "SIGPIPE";
    if (this.json || unread) this.say(lines.join("\n"));
    if (unread) return;
    if (this.json) {
      await writeLine(this.context.stdout, JSON.stringify(json));
      return;
    }
    for (const line of lines) await writeLine(this.context.stdout, line);
  }
}
