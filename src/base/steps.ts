/** Work in steps: a generator that yields wherever it may be interrupted. */
import { Pace } from "./pace.js";

export type Steps<T> = Generator<void, T, undefined>;

/** Runs all steps at once. */
export function runNow<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}

/** Runs the steps, and lets the event loop go on between them. */
export async function runInSlices<T>(steps: Steps<T>): Promise<T> {
  const pace = new Pace();
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
    if (pace.due) await pace.turn();
  }
}
