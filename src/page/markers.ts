import type { Journal } from "../journal/read.js";
import { formatCount } from "../report/units.js";
import type { Marker } from "./data.js";

/** What happened to a run on its way, by step. A kind of its own in `Marker`, its list here, its look in the script. */
export function markersOf({ sessions, dropped }: Pick<Journal, "sessions" | "dropped">): Marker[] {
  return [
    ...sessions
      .filter(({ from }, i) => i > 0 || from > 0)
      .map(({ from }): Marker => ({ kind: "session", step: from, steps: 0, text: `resumed at ${formatCount(from)}` })),
    ...dropped.map(
      ({ step, count, guard }): Marker => ({
        ...{ kind: "dropped", step: step - count + 1, steps: count },
        text: count === 1 ? `dropped: ${guard}` : `${formatCount(count)} steps dropped: ${guard}`,
      }),
    ),
  ].sort((a, b) => a.step - b.step);
}
