/** One step as an HTML page: what is where when, predicted and measured. It asks the network for nothing. */
import { formatBytes, formatCount, formatShare } from "../report/units.js";
import { STYLE, TIMELINE_STYLE } from "./assets.generated.js";
import { pageOf } from "./frame.js";
import { html, type Markup } from "./html.js";
import { type LaneStep, lanePicture, secondsText, type Wait, waitsOf } from "./lanes.js";

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
<p class="note">Time runs from where the step before has ended to where this one ends (upright lines); what stands
before or behind belongs to this step too. <span class="screen-only">Point at a bar for what it is, its bytes and what
it waited for.</span></p></section>
<section><h2>Each lane</h2>${laneTable(shown)}</section>
<section><h2>Waits</h2>${shown.steps.map((step) => waitTable(step, shown.lanes))}</section>
<section><h2>What was run</h2><div class="scroll"><table class="facts"><tbody>${shown.facts.map(
      ([label, value]) => html`<tr><th scope="row">${label}</th><td class="text">${value}</td></tr>
`,
    )}</tbody></table></div></section>
`,
  });
}

function laneTable({ lanes, steps }: ShownTimeline): Markup {
  const number = (text: string) => html`<td class="number">${text}</td>`;
  const rows = lanes.flatMap((lane) =>
    steps.map((step) => {
      const bars = step.bars.filter((bar) => bar.lane === lane);
      const sum = (of: (bar: LaneStep["bars"][number]) => number) => bars.reduce((total, bar) => total + of(bar), 0);
      const busy = sum(({ begin, end }) => end - begin);
      const waits = waitsOf(bars).reduce((total, { begin, end }) => total + end - begin, 0);
      const bytes = sum((bar) => bar.bytes ?? 0);
      const draws = sum((bar) => bar.draws ?? 0);
      return html`<tr><th scope="row">${lane}</th><td>${step.title}</td>${number(formatCount(bars.length))}
${number(secondsText(busy))}${number(formatShare(busy / step.seconds))}${number(secondsText(waits))}
${number(bytes === 0 ? "" : formatBytes(bytes))}${number(draws === 0 ? "" : formatCount(draws))}</tr>
`;
    }),
  );
  const titles = ["commands", "at work", "of the step", "waits", "between host and device", "values of noise"];
  return html`<div class="scroll"><table class="lane-table"><thead><tr><th scope="col">lane</th>
<th scope="col"></th>${titles.map(
    (title) => html`<th scope="col" class="number">${title}</th>`,
  )}</tr></thead><tbody>${rows}</tbody></table></div>`;
}

/** What lanes waited for, units together: the longest first. */
function waitTable(step: LaneStep, lanes: readonly string[]): Markup {
  const groups = new Map<string, { readonly lane: string; readonly reason: string; readonly waits: Wait[] }>();
  for (const lane of lanes)
    for (const wait of waitsOf(step.bars.filter((bar) => bar.lane === lane))) {
      const reason =
        wait.cause === null ? "its turn, or the host" : `${wait.cause.what} on the ${wait.cause.lane} lane`;
      const group = groups.get(`${lane} ${reason}`) ?? { lane, reason, waits: [] };
      group.waits.push(wait);
      groups.set(`${lane} ${reason}`, group);
    }
  if (groups.size === 0) return html`<h3>${step.title}</h3><p class="note">No lane waits.</p>`;
  const number = (text: string) => html`<td class="number">${text}</td>`;
  const rows = [...groups.values()]
    .map((group) => ({ ...group, seconds: group.waits.reduce((sum, wait) => sum + lengthOf(wait), 0) }))
    .sort((a, b) => b.seconds - a.seconds)
    .map(
      ({ lane, reason, waits, seconds }) => html`<tr><th scope="row">${lane}</th><td>${reason}</td>
${number(formatCount(waits.length))}${number(secondsText(seconds))}${number(formatShare(seconds / step.seconds))}
${number(secondsText(Math.max(...waits.map(lengthOf))))}</tr>
`,
    );
  const titles = ["times", "together", "of the step", "longest"];
  const heads = titles.map((title) => html`<th scope="col" class="number">${title}</th>`);
  return html`<h3>${step.title}</h3><div class="scroll"><table class="lane-table"><thead><tr><th scope="col">lane</th>
<th scope="col">waits for</th>${heads}</tr></thead><tbody>${rows}
</tbody></table></div>`;
}

const lengthOf = ({ begin, end }: Wait) => end - begin;
