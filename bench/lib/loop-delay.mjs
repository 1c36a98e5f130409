import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";

/** Milliseconds between the ticks that are looked at. */
export const RESOLUTION_MS = 5;

/**
 * Runs `work` and watches how late the event loop's timer ticks come meanwhile. Milliseconds beyond the tick's own
 * interval; the timer is itself up to a millisecond late, so the figures mean something beside those of an idle loop
 * only.
 */
export async function watchLoop(work) {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  histogram.enable();
  try {
    const value = await work();
    // What blocked the loop at the very end shows at the tick after it.
    await sleep(2 * RESOLUTION_MS);
    return { value, delay: read(histogram) };
  } finally {
    histogram.disable();
  }
}

function read(histogram) {
  const late = (nanoseconds) => Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS);
  return {
    p50: late(histogram.percentile(50)),
    p99: late(histogram.percentile(99)),
    max: late(histogram.max),
    ticks: histogram.count,
  };
}
