/** One step as an HTML page: what is where when, predicted and measured. It asks the network for nothing. */
import { STYLE, TIMELINE_STYLE } from "./assets.generated.js";
import { pageOf } from "./frame.js";
import { html } from "./html.js";
import { laneTable, waitTable } from "./lane-tables.js";
import { AXIS_NOTE, type LaneStep, lanePicture } from "./lanes.js";

export interface ShownTimeline {
  readonly title: string;
  readonly lead: string;
  /** In the order of the rows. */
  readonly lanes: readonly string[];
  /** From above. */
  readonly steps: readonly LaneStep[];
  /** What was run, and where. */
  readonly facts: readonly (readonly [label: string, value: string])[];
}

export function timelineDocument(shown: ShownTimeline, made: Date): string {
  return pageOf({
    ...{ generator: "zo2 timeline", title: shown.title, lead: shown.lead, made, style: STYLE + TIMELINE_STYLE },
    policy: "default-src 'none'; style-src 'unsafe-inline'",
    body: html`<section><h2>Lanes</h2>
${lanePicture(shown.steps, shown.lanes)}
${AXIS_NOTE}</section>
<section><h2>Each lane</h2>${laneTable(shown.steps, shown.lanes)}</section>
<section><h2>Waits</h2>${shown.steps.map((step) => waitTable(step, shown.lanes))}</section>
<section><h2>What was run</h2><div class="scroll"><table class="facts"><tbody>${shown.facts.map(
      ([label, value]) => html`<tr><th scope="row">${label}</th><td class="text">${value}</td></tr>
`,
    )}</tbody></table></div></section>
`,
  });
}
