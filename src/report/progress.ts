import { SingleBar } from "cli-progress";
import { drawBar } from "./bars.js";
import { lookOf, type Look, type OutputStream } from "./terminal.js";
import { formatBytes, formatDuration, formatLoss, formatRate } from "./units.js";

/** What a bar needs to know of a step. */
export interface ProgressStep {
  readonly loss: number;
  readonly tokens: number;
  /** Most bytes of device memory in use so far. */
  readonly deviceBytes: number;
  /** Whether it went along no direction. @default false */
  readonly skipped?: boolean;
}

export interface ProgressOptions {
  /** Steps until the end. */
  readonly steps: number;
  readonly stream: OutputStream;
  readonly look?: Look;
  /** Seconds between two plain lines where the stream is no terminal. @default 10 */
  readonly plainSeconds?: number;
  /** A clock in seconds. @default the process's monotonic clock */
  readonly now?: () => number;
}

/** How far training has come, as numbers. */
export interface ProgressState {
  readonly done: number;
  readonly steps: number;
  /** Loss, smoothed over the last steps. */
  readonly loss: number;
  readonly tokensPerSecond: number;
  readonly deviceBytes: number;
  readonly secondsLeft: number;
  /** Steps that went along no direction. */
  readonly skipped: number;
}

/** Share of the past that a new step leaves standing in a smoothed value: about twenty steps count. */
const SMOOTHING = 0.95;

/** An exponential mean that is unbiased from its first value on; values that are not finite are passed over. */
class Smoothed {
  private sum = 0;
  private weight = 0;

  add(value: number): void {
    if (!Number.isFinite(value)) return;
    this.sum = SMOOTHING * this.sum + (1 - SMOOTHING) * value;
    this.weight = SMOOTHING * this.weight + (1 - SMOOTHING);
  }

  get value(): number {
    return this.weight === 0 ? NaN : this.sum / this.weight;
  }
}

/** Shows the steps of training: a bar in a terminal, a plain line every so often elsewhere. */
export class Progress implements Disposable {
  private readonly steps: number;
  private readonly stream: OutputStream;
  private readonly look: Look;
  private readonly plainSeconds: number;
  private readonly now: () => number;
  private readonly loss = new Smoothed();
  private readonly stepTokens = new Smoothed();
  private readonly stepSeconds = new Smoothed();
  private readonly bar: SingleBar | undefined;
  private barShown = false;
  private done = 0;
  private skipped = 0;
  private deviceBytes = 0;
  private lastStep: number;
  private lastPlain = -Infinity;
  private lastPrinted = 0;

  constructor(options: ProgressOptions) {
    this.steps = options.steps;
    this.stream = options.stream;
    this.look = options.look ?? lookOf(options.stream);
    this.plainSeconds = options.plainSeconds ?? 10;
    this.now = options.now ?? (() => performance.now() / 1000);
    this.lastStep = this.now();
    if (options.stream.isTTY === true) {
      this.bar = new SingleBar({
        stream: options.stream as NodeJS.WritableStream,
        format: () => progressLine(this.state, lookWidth(options.stream, this.look)),
        // The command line has its own way with SIGINT: finish the step and save.
        gracefulExit: false,
        hideCursor: true,
        clearOnComplete: false,
        fps: 8,
      });
    }
  }

  get state(): ProgressState {
    const seconds = this.stepSeconds.value;
    return {
      done: this.done,
      steps: this.steps,
      loss: this.loss.value,
      tokensPerSecond: this.stepTokens.value / seconds,
      deviceBytes: this.deviceBytes,
      skipped: this.skipped,
      secondsLeft: this.done >= this.steps ? 0 : seconds * (this.steps - this.done),
    };
  }

  /** Starts the clock of the next step; call it after work that is no step, such as an evaluation. */
  resume(): void {
    this.lastStep = this.now();
  }

  /** Begins behind steps that another process has taken. */
  startAt(done: number): void {
    this.done = done;
  }

  /** Counts one step. */
  step(step: ProgressStep): void {
    const now = this.now();
    this.stepSeconds.add(now - this.lastStep);
    this.stepTokens.add(step.tokens);
    this.loss.add(step.loss);
    this.lastStep = now;
    this.deviceBytes = Math.max(this.deviceBytes, step.deviceBytes);
    this.done++;
    if (step.skipped === true) this.skipped++;
    if (this.bar !== undefined) {
      if (!this.barShown) this.bar.start(this.steps, this.done);
      else this.bar.update(this.done);
      this.barShown = true;
    } else if (this.done === 1 || this.done === this.steps || now - this.lastPlain >= this.plainSeconds) {
      this.plain(now);
    }
  }

  /** Prints a line of its own, above the bar where there is one. */
  note(text: string): void {
    const shown = this.barShown;
    if (shown) this.clearBar();
    this.stream.write(`${text}\n`);
    if (shown) this.bar?.start(this.steps, this.done);
  }

  /** Ends the display with the last step's line. Stopping twice is allowed. */
  stop(): void {
    if (this.barShown) {
      this.bar?.stop();
      this.barShown = false;
    } else if (this.bar === undefined && this.done > this.lastPrinted) {
      this.plain(this.now());
    }
  }

  [Symbol.dispose](): void {
    this.stop();
  }

  private plain(now: number): void {
    this.lastPlain = now;
    this.lastPrinted = this.done;
    this.stream.write(`${plainLine(this.state)}\n`);
  }

  /** Takes the bar's line away, so that what follows starts on a clean one. */
  private clearBar(): void {
    this.bar?.stop();
    // `stop` ends the line: one up, to its start, and erase it.
    this.stream.write("\u001b[1A\u001b[2K\r");
  }
}

/** One line for a log: `step 120/500  loss 0.5412  8,123 tokens/s  device 6.1 MiB  1 min 02 s left`. */
export function plainLine(state: ProgressState): string {
  return [
    `step ${state.done}/${state.steps}`,
    `loss ${formatLoss(state.loss)}`,
    ...skippedText(state),
    formatRate(state.tokensPerSecond, "tokens"),
    `device ${formatBytes(state.deviceBytes)}`,
    timeLeft(state),
  ].join("  ");
}

/** One line for a terminal of `look.width` columns: what has no room is left out whole. */
export function progressLine(state: ProgressState, look: Look): string {
  const head = `${String(state.done).padStart(String(state.steps).length)}/${state.steps}`;
  const parts = [
    [`loss ${formatLoss(state.loss)}`, ...skippedText(state)].join("  "),
    formatRate(state.tokensPerSecond, "tok"),
    formatBytes(state.deviceBytes),
    timeLeft(state),
  ];
  for (;;) {
    const tail = parts.join("  ");
    const room = look.width - 1 - head.length - tail.length - 4;
    if (room >= 10) return `${head}  ${drawBar(state.done / state.steps, Math.min(room, 40), look.unicode)}  ${tail}`;
    // Memory goes first, then the rate, then the time left.
    if (parts.length === 1) return room >= -2 ? `${head}  ${tail}` : head.slice(0, Math.max(look.width - 1, 1));
    parts.splice(parts.length === 4 ? 2 : 1, 1);
  }
}

function skippedText({ skipped }: ProgressState): string[] {
  return skipped === 0 ? [] : [`${skipped} skipped`];
}

function timeLeft(state: ProgressState): string {
  return state.done >= state.steps ? "done" : `${formatDuration(state.secondsLeft)} left`;
}

/** A terminal may change its width at any time. */
function lookWidth(stream: OutputStream, look: Look): Look {
  return stream.columns !== undefined && stream.columns > 0 ? { ...look, width: stream.columns } : look;
}
