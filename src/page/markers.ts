import type { Journal } from "../journal/read.js";
import { formatCount } from "../report/units.js";
import type { Marker } from "./data.js";

/** What happened to a run on its way, by step. A kind of its own in `Marker`, its list here, its look in the script. */
export function markersOf({ sessions }: Pick<Journal, "sessions">): Marker[] {
  return sessions
    .filter(({ from }, i) => i > 0 || from > 0)
    .map(({ from }) => ({ kind: "session", step: from, steps: 0, text: `resumed at ${formatCount(from)}` }));
}
