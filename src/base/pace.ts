import { setImmediate } from "node:timers/promises";

/** Longest time for which work holds the event loop, about. */
const HOLD_MS = 8;

/** Lets the event loop turn while long work runs on it: timers fire, signals arrive. */
export class Pace {
  private since = performance.now();

  /** Whether the loop has been held long enough. */
  get due(): boolean {
    return performance.now() - this.since >= HOLD_MS;
  }

  async turn(): Promise<void> {
    await setImmediate();
    this.since = performance.now();
  }
}
