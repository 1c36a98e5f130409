import { SingleBar } from "cli-progress";
import { drawBar } from "./bars.js";
import { lookOf, type OutputStream } from "./terminal.js";
import { formatCount, formatShare } from "./units.js";

/** How far the check of a data set has come. */
export interface CheckState {
  readonly name: string;
  readonly lines: number;
  /** 0 to 1; null where the end is not known. */
  readonly share: number | null;
}

/** What is said of lines: how many, by kind, and the first of them. */
interface Issues {
  readonly count: number;
  readonly counts: Readonly<Record<string, number | undefined>>;
  readonly issues: readonly { readonly message: string }[];
}

/** What the check of a data set has found. */
export interface CheckedReport {
  readonly name: string;
  readonly lines: number;
  readonly skipped: Issues;
  readonly remarks: Issues;
  readonly longest: { readonly tokens: number; readonly place: string };
}

export interface CheckViewOptions {
  /** Seconds between two plain lines where the stream is no terminal. @default 10 */
  readonly plainSeconds?: number;
  /** A clock in seconds. @default the process's monotonic clock */
  readonly now?: () => number;
}

/** Shows the check of a data set while it goes on: a bar in a terminal, a plain line every so often elsewhere. */
export class CheckView implements Disposable {
  private readonly plainSeconds: number;
  private readonly now: () => number;
  private bar: SingleBar | undefined;
  private last: number;

  constructor(
    private readonly stream: OutputStream,
    { plainSeconds = 10, now = () => performance.now() / 1000 }: CheckViewOptions = {},
  ) {
    this.plainSeconds = plainSeconds;
    this.now = now;
    this.last = now();
  }

  show(state: CheckState): void {
    if (state.share === 1) {
      this.stop();
      return;
    }
    if (this.stream.isTTY === true) {
      this.bar ??= this.startBar();
      this.bar.update(state.share ?? 0, state);
    } else if (this.now() - this.last >= this.plainSeconds) {
      this.last = this.now();
      const share = state.share === null ? "" : `${formatShare(state.share)}, `;
      this.stream.write(`checking ${state.name}: ${share}${formatCount(state.lines)} lines\n`);
    }
  }

  /** Takes the bar away. Stopping twice is allowed. */
  stop(): void {
    this.bar?.stop();
    this.bar = undefined;
  }

  private startBar(): SingleBar {
    const look = lookOf(this.stream);
    const bar = new SingleBar({
      stream: this.stream as NodeJS.WritableStream,
      hideCursor: true,
      clearOnComplete: true,
      gracefulExit: false,
      format: (_, params, { name = "", lines = 0, share = null }: Partial<CheckState>) =>
        `checking ${share === null ? "" : `${drawBar(params.progress, 30, look.unicode)} `}` +
        `${formatCount(lines)} lines of ${name}`,
    });
    bar.start(1, 0, {});
    return bar;
  }

  [Symbol.dispose](): void {
    this.stop();
  }
}

/** What people are told of a data set that was checked. */
export function checkedLines({ name, lines, skipped, remarks, longest }: CheckedReport): string[] {
  const head = `${name}: ${formatCount(lines)} lines, the longest sequence has ${formatCount(longest.tokens)} tokens`;
  return [
    `${head} (${longest.place})`,
    ...listed(skipped, "left out"),
    ...(remarks.count === 0 ? [] : [`${name}: to be noted: ${kinds(remarks)}, such as ${remarks.issues[0]?.message}`]),
  ];
}

function listed(issues: Issues, what: string): string[] {
  if (issues.count === 0) return [];
  const more = issues.count - issues.issues.length;
  return [
    `${what}: ${formatCount(issues.count)} (${kinds(issues)})${more > 0 ? `; the first ${issues.issues.length}` : ""}`,
    ...issues.issues.map(({ message }) => `  ${message}`),
  ];
}

function kinds({ counts }: Issues): string {
  return Object.entries(counts)
    .map(([kind, count]) => `${formatCount(count ?? 0)} ${kind}`)
    .join(", ");
}
