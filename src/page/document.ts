/** A report as one HTML document, which asks the network for nothing. */
import { createHash } from "node:crypto";
import { formatCount } from "../report/units.js";
import { LICENCES, SCRIPT, STYLE, TIMELINE_STYLE } from "./assets.generated.js";
import { environmentFacts, optionFacts, planRows, plural, runFacts, timeOf } from "./facts.js";
import { figureSections } from "./figures.js";
import { pageOf } from "./frame.js";
import { html, jsonIn, Markup } from "./html.js";
import { laneSection, showsLanes } from "./lane-section.js";
import { pictureOf } from "./picture.js";
import type { ShownRun } from "./run.js";
import { spanFor } from "./smoothing.js";
import { summaryOf } from "./summary.js";
import { factTable, figuresOf, glanceTable, planTable, sessionTable, swatch } from "./tables.js";

/** What the file begins with; by it a report is known from any other HTML. */
const GENERATOR = "zo2 report";

export function documentOf(runs: readonly ShownRun[], made: Date): string {
  const span = spanFor(runs.reduce((most, { journal }) => Math.max(most, journal.steps.length), 0));
  const picture = pictureOf(runs, span);
  const title = runs.length === 1 ? (runs[0]?.name ?? "") : `${formatCount(runs.length)} runs`;
  const button = html`<button id="theme" type="button">Light or dark</button>`;
  return pageOf({
    ...{ generator: GENERATOR, title, lead: lead(runs), beside: button, policy: policy() },
    style: showsLanes(runs) ? STYLE + TIMELINE_STYLE : STYLE,
    ...{ licences: LICENCES, made, credits: " Charts: uPlot." },
    body: html`${notices(runs)}
${head(runs, span)}
<p class="note screen-only">Drag over a chart to look closer at some steps, in all charts; a double click shows all
of them again.</p>
<noscript><p class="notices">The charts need JavaScript, which is switched off; the tables below do not.</p></noscript>
${figureSections(runs, picture, span)}
${laneSection(runs)}
${tables(runs)}
`,
    scripts: html`<script type="application/json" id="picture">${jsonIn(picture)}</script>
<script>${new Markup(SCRIPT)}</script>
`,
  });
}

/** Nothing may be fetched, and no script runs but ours. */
function policy(): string {
  const hash = createHash("sha256").update(SCRIPT).digest("base64");
  return `default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${hash}'`;
}

function lead(runs: readonly ShownRun[]): string {
  const bases = [...new Set(runs.map(({ journal }) => journal.header.base.name))];
  const [first] = runs;
  const begun = runs.length === 1 && first !== undefined ? `, begun ${timeOf(first.journal.header.created)}` : "";
  return `zeroth-order fine-tuning of ${bases.join(", ")}${begun}`;
}

function head(runs: readonly ShownRun[], span: number): Markup {
  const [only] = runs;
  if (runs.length === 1 && only !== undefined) return figuresOf(only, summaryOf(only, span));
  const buttons = runs.map(
    ({ name }, i) => html`<button type="button" data-run="${i}" aria-pressed="true">${swatch(i)}${name}</button>
`,
  );
  return html`<nav class="legend" aria-label="runs shown">${buttons}</nav>
${glanceTable(
  runs,
  runs.map((run) => summaryOf(run, span)),
)}`;
}

function tables(runs: readonly ShownRun[]): Markup {
  const several = runs.length > 1;
  const plan = planRows(runs);
  const filter = html`<p class="note screen-only"><label><input type="checkbox" id="differing"> only what differs
(&ne;)</label></p>`;
  return html`<section><h2>Memory</h2>${
    plan.length === 0
      ? html`<p class="note">No plan is in the journal: the run was begun by an earlier version, or without a
check of its data.</p>`
      : planTable(runs, plan)
  }</section>
<section><h2>Run</h2>${several ? filter : ""}${factTable(runs, runFacts(runs), "run")}</section>
<section><h2>Options</h2>${factTable(runs, optionFacts(runs), "option")}</section>
<section><h2>Environment</h2>${factTable(runs, environmentFacts(runs), "environment")}
${runs.every(({ journal }) => journal.sessions.length === 0) ? "" : html`<h3>Sessions</h3>${sessionTable(runs)}`}
</section>`;
}

/** What a reader has to know before the figures. */
function notices(runs: readonly ShownRun[]): Markup {
  const said = runs.flatMap(({ name, journal: { torn, compact, closed, sessions } }) => {
    const whose = runs.length > 1 ? `${name}: ` : "";
    const list: string[] = [];
    if (torn > 0)
      list.push(
        `The journal ends amid a record: its last ${plural(torn, "byte is", "bytes are")} left out. Either a crash ` +
          "has torn it, or the run was writing just then.",
      );
    else if (!closed && sessions.length > 0)
      list.push("The last session is still going on, or it did not end in order.");
    if (compact) list.push("The journal is compact: it has the coefficients and learning rates alone.");
    return list.map((text) => whose + text);
  });
  if (said.length === 0) return html``;
  return html`<ul class="notices">${said.map((text) => html`<li>${text}</li>`)}</ul>`;
}
