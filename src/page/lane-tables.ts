/** What the lanes of a step did, and what they waited for, in numbers. */
import { formatBytes, formatCount, formatShare } from "../report/units.js";
import { html, type Markup } from "./html.js";
import { type LaneStep, secondsText, type Wait, waitsOf } from "./lanes.js";

/** A row for each lane and step. */
export function laneTable(steps: readonly LaneStep[], lanes: readonly string[]): Markup {
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
export function waitTable(step: LaneStep, lanes: readonly string[]): Markup {
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
