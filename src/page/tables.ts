/** The tables of a page. */
import { formatBytes, formatCount, formatDuration, formatLoss, formatRate, formatShare } from "../report/units.js";
import { endOf, type Fact, type PlanRow, stepsAsked, timeOf } from "./facts.js";
import { html, type Markup } from "./html.js";
import type { ShownRun } from "./run.js";
import type { Summary } from "./summary.js";

const NONE = html`<span class="none">&ndash;</span>`;

/** A sample of the run's line; the script colours it. */
export function swatch(run: number): Markup {
  return html`<svg class="swatch" data-run="${run}" viewBox="0 0 26 10" aria-hidden="true"><line x1="0" y1="5" x2="26"
y2="5"/></svg>`;
}

function heads(runs: readonly ShownRun[], first: string): Markup {
  const names = runs.map(({ name }, i) => html`<th scope="col">${swatch(i)}${name}</th>`);
  return html`<thead><tr><th scope="col">${first}</th>${names}</tr></thead>`;
}

export function factTable(runs: readonly ShownRun[], facts: readonly Fact[], first: string): Markup {
  const rows = facts
    .filter(({ values }) => values.some((value) => value !== null))
    .map(({ label, values, differs }) => {
      const cells = values.map((value) => html`<td class="text">${value ?? NONE}</td>`);
      return html`<tr class="${differs ? "differs" : ""}"><th scope="row">${label}</th>${cells}</tr>
`;
    });
  const head = runs.length > 1 ? heads(runs, first) : "";
  return html`<div class="scroll"><table class="facts">${head}<tbody>${rows}</tbody></table></div>`;
}

export function planTable(runs: readonly ShownRun[], rows: readonly PlanRow[]): Markup {
  const most = rows.reduce((a, { bytes }) => bytes.reduce<number>((b, value) => Math.max(b, value ?? 0), a), 1);
  const cell = (value: number | null) => html`<td class="number">${value === null ? NONE : formatBytes(value)}</td>`;
  const exact = (value: number | null) =>
    html`<td class="number exact">${value === null ? NONE : formatCount(value)}</td>`;
  const bar = (value: number | null) =>
    html`<td class="bar"><i style="width:${((100 * (value ?? 0)) / most).toFixed(2)}%"></i></td>`;
  const body = rows.map(({ label, bytes, part }) => {
    const [only = null] = bytes;
    const cells = runs.length > 1 ? bytes.map(cell) : [cell(only), exact(only), bar(only)];
    return html`<tr class="${part ? "part" : ""}"><th scope="row">${label}</th>${cells}</tr>
`;
  });
  const names = runs.map(({ name }, i) => html`<th scope="col" class="number">${swatch(i)}${name}</th>`);
  const columns =
    runs.length > 1
      ? names
      : html`<th scope="col" class="number">size</th><th scope="col" class="number exact">bytes</th>
<td class="bar"></td>`;
  return html`<div class="scroll"><table><thead><tr><th scope="col">memory</th>${columns}</tr></thead>
<tbody>${body}</tbody></table></div>`;
}

/** Every process that has trained one of the runs. */
export function sessionTable(runs: readonly ShownRun[]): Markup {
  const several = runs.length > 1;
  const rows = runs.flatMap(({ name, journal }, run) =>
    journal.sessions.map((session, i) => {
      const last = i === journal.sessions.length - 1;
      const end = journal.sessions[i + 1]?.from ?? journal.steps.length;
      return html`<tr>${several ? html`<td>${swatch(run)}${name}</td>` : ""}<td class="number">${i + 1}</td>
<td>${timeOf(session.started)}</td><td class="number">${formatCount(session.from)}</td>
<td class="number">${formatCount(end - session.from)}</td><td class="device">${session.device}</td>
<td class="number">${String(session.options["threads"] ?? "")}</td><td>${session.package}</td>
<td>${session.runtime ?? NONE}</td><td>${last ? endOf(journal) : "went on in the next"}</td></tr>
`;
    }),
  );
  const head = [several ? "run" : null, "session", "started", "from step", "steps", "device", "threads", "zo2"]
    .concat("runtime", "end")
    .filter((title) => title !== null)
    .map((title) => {
      const number = ["session", "from step", "steps", "threads"].includes(title);
      return html`<th scope="col" class="${number ? "number" : ""}">${title}</th>`;
    });
  return html`<div class="scroll"><table class="sessions"><thead><tr>${head}</tr></thead>
<tbody>${rows}</tbody></table></div>`;
}

/** What one run came to. */
export function figuresOf({ journal }: ShownRun, summary: Summary): Markup {
  const { best, tokensPerSecond, seconds, deviceBytes } = summary;
  const asked = stepsAsked(journal);
  const figures: readonly (readonly [string, string, string] | null)[] = [
    ["steps taken", formatCount(summary.steps), `of ${formatCount(asked)}`],
    summary.lastLoss === null
      ? null
      : ["training loss", formatLoss(summary.lastLoss), `smoothed, from ${formatLoss(summary.firstLoss ?? NaN)}`],
    best === null ? null : ["best evaluation", formatLoss(best.loss), evaluationNote(best.accuracy, best.step)],
    tokensPerSecond === null || seconds === null
      ? null
      : ["tokens a second", formatCount(tokensPerSecond), `${formatDuration(seconds)} in steps`],
    deviceBytes === null ? null : ["device memory", formatBytes(deviceBytes), "planned"],
    ["journal", formatBytes(journal.bytes), perStep(journal.bytes, summary.steps)],
  ];
  const shown = figures.filter((figure) => figure !== null);
  return html`<dl class="figures">${shown.map(
    ([name, value, note]) => html`<div><dt>${name}</dt><dd>${value}<small>${note}</small></dd></div>
`,
  )}</dl>`;
}

/** The same of several, one a row. */
export function glanceTable(runs: readonly ShownRun[], summaries: readonly Summary[]): Markup {
  const titles = ["steps", "training loss, smoothed", "best evaluation", "accuracy", "after step", "speed", "in steps"];
  const number = (text: string | null) => html`<td class="number">${text ?? NONE}</td>`;
  const rows = summaries.map((s, i) => {
    const cells = [
      formatCount(s.steps),
      s.lastLoss === null ? null : `${formatLoss(s.firstLoss ?? NaN)} → ${formatLoss(s.lastLoss)}`,
      s.best === null ? null : formatLoss(s.best.loss),
      s.best === null || s.best.accuracy === null ? null : formatShare(s.best.accuracy),
      s.best === null ? null : formatCount(s.best.step),
      s.tokensPerSecond === null ? null : formatRate(s.tokensPerSecond, "tokens"),
      s.seconds === null ? null : formatDuration(s.seconds),
    ];
    return html`<tr><th scope="row">${swatch(i)}${runs[i]?.name ?? ""}</th>${cells.map(number)}</tr>
`;
  });
  const head = titles.map((title) => html`<th scope="col" class="number">${title}</th>`);
  return html`<div class="scroll"><table><thead><tr><th scope="col">run</th>${head}</tr></thead>
<tbody>${rows}</tbody></table></div>`;
}

function evaluationNote(accuracy: number | null, step: number): string {
  const share = accuracy === null ? "" : `accuracy ${formatShare(accuracy)}, `;
  return `${share}after step ${formatCount(step)}`;
}

function perStep(bytes: number, steps: number): string {
  return steps === 0 ? "no step in it" : `${(bytes / steps).toFixed(1)} bytes a step`;
}
