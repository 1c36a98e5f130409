/** The charts of the page as lists of what they draw; how that is drawn is `draw.ts`. */
import type { Line, Marker, Picture, RunPicture } from "../data.js";
import { count, number, percent, percentTick, tickText } from "./format.js";

export interface Trace {
  /** Place of its run among those of the page. */
  readonly run: number;
  /** dots: single steps, faint; line; points: a line with its points; steps: borders of bins, filled. */
  readonly look: "dots" | "line" | "points" | "steps";
  readonly line: Line;
  /** What its value is, where a run has several traces. */
  readonly label: string;
  /** Place of the value that is ringed. */
  readonly best?: number | null;
}

export interface Chart {
  /** `data-chart` of its figure. */
  readonly id: string;
  readonly x: string;
  readonly y: string;
  readonly traces: readonly Trace[];
  /** Whether its x axis is the steps taken, which all such charts share. */
  readonly overSteps: boolean;
  readonly markers: readonly { readonly run: number; readonly marker: Marker }[];
  readonly format: (value: number) => string;
  readonly tick: (tick: number, step: number) => string;
  /** The y axis begins at 0. */
  readonly fromZero?: boolean;
  /** The y axis leaves out single steps that are far from the others. */
  readonly withoutFar?: boolean;
}

type Part = Omit<Trace, "run">;

/** The last step that any chart shows. */
export function mostSteps(charts: readonly Chart[]): number {
  const lines = charts.filter(({ overSteps }) => overSteps).flatMap(({ traces }) => traces.map(({ line }) => line));
  const ends = lines.map(({ steps, values }) => (steps === null ? values.length - 1 : (steps.at(-1) ?? 0)));
  return Math.max(0, ...ends);
}

export function chartsOf({ runs, bins }: Picture): Chart[] {
  const traces = (of: (run: RunPicture) => readonly Part[]) =>
    runs.flatMap((run, place) => of(run).map((part) => ({ ...part, run: place })));
  const markers = runs.flatMap((run, place) => run.markers.map((marker) => ({ run: place, marker })));
  const overSteps = { x: "steps taken", overSteps: true, markers };
  const plain = { format: (value: number) => number(value), tick: tickText };
  const charts: Chart[] = [
    { id: "loss", ...overSteps, y: "loss", ...plain, traces: traces(({ loss }) => courseParts(loss)) },
    {
      ...{ id: "evaluation-loss", ...overSteps, y: "loss", ...plain },
      traces: traces(({ evaluations: e }) =>
        e === null ? [] : [{ look: "points", line: e.loss, label: "loss", best: e.best }],
      ),
    },
    {
      ...{ id: "evaluation-accuracy", ...overSteps, y: "accuracy", format: percent, tick: percentTick },
      traces: traces(({ evaluations: e }) =>
        e === null || e.accuracy === null
          ? []
          : [{ look: "points", line: e.accuracy, label: "accuracy", best: e.best }],
      ),
    },
    {
      ...{ id: "coefficients", ...overSteps, y: "projected gradient", ...plain },
      traces: traces(({ coefficients }) =>
        coefficients.map((line, d) => ({
          ...{ look: "dots", line, label: coefficients.length === 1 ? "" : `direction ${count(d)}` },
        })),
      ),
    },
    {
      ...{ id: "distribution", x: "projected gradient", y: "share of steps, %", overSteps: false, markers: [] },
      ...{ ...plain, fromZero: true },
      traces: traces(({ distribution }) =>
        distribution.length === 0 ? [] : [{ look: "steps", line: outline(bins, distribution), label: "%" }],
      ),
    },
    {
      ...{ id: "rate", ...overSteps, y: "learning rate", ...plain, fromZero: true },
      traces: traces(({ rate }) => (rate === null ? [] : [{ look: "line", line: rate, label: "" }])),
    },
    {
      ...{ id: "speed", ...overSteps, y: "tokens/s", ...plain, fromZero: true, withoutFar: true },
      traces: traces(({ speed }) => courseParts(speed)),
    },
  ];
  return charts.filter((chart) => chart.traces.length > 0);
}

function courseParts(course: RunPicture["loss"]): Part[] {
  if (course === null) return [];
  return [
    { look: "dots", line: course.raw, label: "this step" },
    { look: "line", line: course.smooth, label: "smoothed" },
  ];
}

/** The last border closes the last bin. */
function outline(bins: readonly number[], shares: readonly number[]): Line {
  return { steps: bins, values: [...shares, shares.at(-1) ?? 0] };
}
