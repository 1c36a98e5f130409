/** The places of the charts, with what stands above each; a chart that has nothing to show says why. */
import { formatCount } from "../report/units.js";
import { html, Markup } from "./html.js";
import type { Picture } from "./data.js";
import type { ShownRun } from "./run.js";

interface Figure {
  /** As in the script's list of charts. */
  readonly id: string;
  readonly title: string;
  readonly caption: Markup;
  readonly wide?: boolean;
  /** Why there is nothing; null where there is something. */
  readonly empty: string | null;
}

export function figureSections(runs: readonly ShownRun[], picture: Picture, span: number): Markup {
  const none = runs.every(({ journal }) => journal.steps.length === 0) ? "No step has been taken." : null;
  return html`${section("Training", [lossFigure(picture, span, none)])}
${section("Evaluations", evaluationFigures(picture, runs))}
${section("Projected gradient", coefficientFigures(runs, none))}
${section("Learning rate and speed", [
  {
    ...{ id: "rate", title: "Learning rate", empty: none },
    caption: html`of each step, schedule and warm-up included`,
  },
  speedFigure(picture, span, none),
])}`;
}

function section(title: string, figures: readonly Figure[]): Markup {
  return html`<section><h2>${title}</h2><div class="charts">${figures.map(figureOf)}</div></section>`;
}

function figureOf({ id, title, caption, wide, empty }: Figure): Markup {
  const body = empty === null ? html`<div class="plot"></div>` : html`<div class="empty">${empty}</div>`;
  return html`<figure data-chart="${id}" class="${wide === true ? "wide" : ""}">
<figcaption><h3>${title}</h3><p>${caption}</p></figcaption>${body}</figure>`;
}

/** The key of a course, in the colour of the run where there is one. */
function courseCaption(runs: number, span: number, raw: string): Markup {
  const run = new Markup(runs === 1 ? 'data-run="0"' : "");
  return html`<span class="key key-dots" ${run}>${raw}</span> &ensp;
<span class="key key-line" ${run}>smoothed over ${formatCount(span)} steps</span>`;
}

function lossFigure(picture: Picture, span: number, none: string | null): Figure {
  return {
    ...{ id: "loss", title: "Loss", wide: true },
    caption: html`${courseCaption(picture.runs.length, span, "each step's")}:
exponentially weighted mean, &alpha; = 2/(${formatCount(span)} + 1), bias-corrected`,
    empty: picture.runs.some(({ loss }) => loss !== null) ? null : (none ?? "A compact journal has no losses."),
  };
}

function evaluationFigures({ runs }: Picture, shown: readonly ShownRun[]): Figure[] {
  const compact = shown.every(({ journal }) => journal.compact && journal.steps.length > 0);
  const empty = compact ? "A compact journal has no evaluations." : "The run was not evaluated.";
  const any = runs.some(({ evaluations }) => evaluations !== null);
  const accuracy = runs.some(({ evaluations }) => evaluations !== null && evaluations.accuracy !== null);
  const best = `the best is ringed: ${accuracy ? "the highest accuracy, and of equal ones " : ""}the lowest loss`;
  const loss: Figure = {
    ...{ id: "evaluation-loss", title: "Loss on held-out data", wide: !any },
    caption: html`${any ? best : ""}`,
    empty: any ? null : empty,
  };
  if (!any) return [loss];
  return [
    loss,
    {
      ...{ id: "evaluation-accuracy", title: "Accuracy on held-out data" },
      caption: html`${best}`,
      empty: accuracy ? null : "No accuracy: nothing in this data is right or wrong.",
    },
  ];
}

function coefficientFigures(runs: readonly ShownRun[], none: string | null): Figure[] {
  return [
    {
      ...{ id: "coefficients", title: "At each step", empty: none },
      caption: html`${
        runs.every(({ journal }) => journal.header.method.directions === 1)
          ? "difference of the losses at both sides over their distance: the step's coefficient"
          : "what the losses came to for each direction: its coefficient"
      }`,
    },
    {
      ...{ id: "distribution", title: "Distribution", empty: none },
      caption: html`the coefficients of all steps${runs.length > 1 ? ", as shares of each run" : ""}`,
    },
  ];
}

function speedFigure({ runs }: Picture, span: number, none: string | null): Figure {
  const figure = { id: "speed", title: "Tokens a second" };
  if (runs.every(({ speed }) => speed === null)) {
    const why = none ?? "Not known: no metrics.jsonl lies beside the journal, which has no times.";
    return { ...figure, caption: html``, empty: why };
  }
  const key = courseCaption(runs.length, span, "each step");
  return { ...figure, caption: html`${key}; single steps that are far off are not in the axis`, empty: null };
}
