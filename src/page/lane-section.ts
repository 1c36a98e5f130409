/** In the report of runs: when each command of one step of theirs was on its lane. */
import { html, type Markup } from "./html.js";
import { laneTable, waitTable } from "./lane-tables.js";
import { AXIS_NOTE, lanePicture } from "./lanes.js";
import type { RunLanes } from "./lanes-file.js";
import type { ShownRun } from "./run.js";

export function laneSection(runs: readonly ShownRun[]): Markup {
  const several = runs.length > 1;
  return html`<section><h2>Lanes of a step</h2>${runs.map(({ name, lanes }) => {
    const whose = several ? html`<h3>${name}</h3>` : "";
    if ("why" in lanes) return html`${whose}<p class="note">No picture: ${lanes.why}.</p>`;
    return html`${whose}${picture(lanes)}`;
  })}</section>`;
}

/** Whether a page on these runs needs the style of lanes. */
export function showsLanes(runs: readonly ShownRun[]): boolean {
  return runs.some(({ lanes }) => !("why" in lanes));
}

function picture({ step, device, figures, lanes, steps }: RunLanes): Markup {
  const prediction =
    figures === null
      ? "There is no prediction beside it: the device has no known figures, and was not measured (zo2 timeline does)."
      : `The prediction is made of the figures of ${figures}.`;
  return html`<p class="note">Step ${step}, on ${device}. ${prediction}</p>
${lanePicture(steps, lanes)}${AXIS_NOTE}
${laneTable(steps, lanes)}
<p class="note">What each lane waited for, the longest first.</p>
${steps.map((one) => waitTable(one, lanes))}`;
}
