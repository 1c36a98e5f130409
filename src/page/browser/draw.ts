/** One chart, drawn by uPlot. */
import uPlot from "uplot";
import type { Chart, Trace } from "./charts.js";
import { tickText } from "./format.js";
import type { Look } from "./look.js";
import { drawBest, drawMarkers } from "./marks.js";
import { colourOf, dashOf, faint } from "./palette.js";
import { tip } from "./tip.js";

/** Charts over steps move their pointers and their zoom together. */
const OVER_STEPS = "steps";

export interface Size {
  readonly width: number;
  readonly height: number;
}

export function draw(
  chart: Chart,
  into: HTMLElement,
  size: Size,
  look: Look,
  names: readonly string[],
  mostSteps: number,
  shown: (run: number) => boolean,
): uPlot {
  const full: readonly [number, number] = chart.overSteps ? [0, mostSteps] : endsOf(chart);
  const one = names.length === 1;
  const options: uPlot.Options = {
    ...size,
    legend: { show: false },
    focus: { alpha: 1 },
    cursor: {
      ...(chart.overSteps ? { sync: { key: OVER_STEPS, scales: ["x", null] as [string, null] } } : {}),
      drag: { x: true, y: false },
      dataIdx: (u, series, idx) => (series === 0 ? idx : nearest(u.data[series] ?? [], idx)),
      points: { size: 7, width: 2, fill: look.background },
    },
    scales: {
      x: { time: false, range: (u, low, high) => xRange(u, low, high, full) },
      y: { range: (u, low, high) => yRange(u, low, high, chart) },
    },
    axes: [
      {
        ...axis(look, chart.x),
        ...{ size: 32, space: 70 },
        values: (_, ticks, _axis, _space, step) =>
          ticks.map((tick) => (chart.overSteps ? whole(tick) : tickText(tick, step))),
      },
      {
        ...axis(look, chart.y),
        ...{ space: 36, values: (_, ticks, _axis, _space, step) => ticks.map((tick) => chart.tick(tick, step)) },
        size: (_, values) => 14 + 7 * Math.max(0, ...(values ?? []).map(({ length }) => length)),
      },
    ],
    series: [{}, ...chart.traces.map((trace) => seriesOf(trace, look, shown(trace.run)))],
    hooks: {
      draw: [(u) => drawMarkers(u, chart, look, shown, one), (u) => drawBest(u, chart, look, shown)],
    },
    plugins: [tip(chart, names, look)],
  };
  return new uPlot(options, alignedOf(chart.traces), into);
}

function endsOf({ traces }: Chart): readonly [number, number] {
  const steps = traces.flatMap(({ line }) => line.steps ?? []);
  return [steps[0] ?? 0, steps.at(-1) ?? 1];
}

/** The traces over all steps that one of them has. */
function alignedOf(traces: readonly Trace[]): uPlot.AlignedData {
  return uPlot.join(
    traces.map(({ line }) => [[...(line.steps ?? line.values.keys())], [...line.values]] satisfies uPlot.AlignedData),
  );
}

function seriesOf({ run, look: kind, line, label }: Trace, look: Look, show: boolean): uPlot.Series {
  const colour = colourOf(run, look.theme);
  const dash = [...dashOf(run)];
  const base = { label, show, stroke: colour, spanGaps: true };
  switch (kind) {
    case "dots": {
      const many = line.values.length;
      const size = many > 5000 ? 2 : many > 800 ? 2.5 : 4;
      const fill = faint(colour, many > 5000 ? 0.25 : 0.4);
      return { ...base, paths: () => null, points: { show: true, size, width: 0, fill, stroke: fill } };
    }
    case "line":
      return { ...base, width: 2, dash, points: { show: line.values.length === 1, size: 7, fill: colour } };
    case "points":
      return { ...base, width: 2, dash, points: { show: true, size: 6, fill: colour } };
    case "steps": {
      const paths = uPlot.paths.stepped?.({ align: 1 });
      return {
        ...{ ...base, width: 1.5, dash, fill: faint(colour, 0.15), points: { show: false } },
        ...(paths === undefined ? {} : { paths }),
      };
    }
  }
}

function axis(look: Look, label: string): uPlot.Axis {
  const line = { stroke: look.grid, width: 1 };
  return {
    ...{ label, labelSize: 22, labelGap: 2, stroke: look.muted, font: look.font, labelFont: look.font },
    ...{ grid: line, ticks: { ...line, size: 5 }, border: { ...line, show: true } },
  };
}

/** All steps where nothing was chosen, in every chart over steps; a little room, so that no end is cut. */
function xRange(u: uPlot, low: number, high: number, full: readonly [number, number]): [number, number] {
  const [steps] = u.data;
  const all = steps.length < 2 || (low === steps[0] && high === steps[steps.length - 1]);
  const [begin, end] = all ? full : [low, high];
  const room = end > begin ? (end - begin) * (all ? 0.015 : 0) : 1;
  return [begin - room, end + room];
}

/** Some room above and below; where there is one value alone, half of it. */
function yRange(u: uPlot, least: number | null, most: number | null, chart: Chart): [number, number] {
  if (least === null || most === null) return [0, 1];
  const [low, high] = chart.withoutFar === true ? usual(u, chart) : [least, most];
  const begin = chart.fromZero === true ? Math.min(0, low) : low;
  const room = high > begin ? (high - begin) * 0.08 : Math.abs(high) / 2 || 1;
  return [chart.fromZero === true && begin === 0 ? 0 : begin - room, high + room];
}

/** Share of the single steps, at either end, that an axis may leave out. */
const FAR = 0.01;

/** The range of the lines, and of most of the dots that are in sight. */
function usual(u: uPlot, { traces }: Chart): [number, number] {
  const [begin, end] = u.series[0]?.idxs ?? [0, u.data[0].length - 1];
  const ends = traces.flatMap(({ look }, i) => {
    if (u.series[i + 1]?.show !== true) return [];
    const values = Array.from(u.data[i + 1] ?? [])
      .slice(begin, end + 1)
      .filter((value) => value !== null && value !== undefined)
      .sort((a, b) => a - b);
    const left = look === "dots" ? Math.floor(values.length * FAR) : 0;
    return [values[left] ?? 0, values[values.length - 1 - left] ?? 0];
  });
  return [Math.min(...ends), Math.max(...ends)];
}

/** The place of the value that is nearest to `idx` (a trace has none at others' steps); null before and behind all. */
function nearest(values: ArrayLike<number | null | undefined>, idx: number): number | null {
  const seek = (by: 1 | -1) => {
    let place = idx;
    while (values[place] === null || values[place] === undefined) {
      place += by;
      if (place < 0 || place >= values.length) return null;
    }
    return place;
  };
  const [before, behind] = [seek(-1), seek(1)];
  if (before === null || behind === null) return null;
  return idx - before <= behind - idx ? before : behind;
}

/** Steps are whole: no tick stands between two of them. */
function whole(tick: number): string {
  return Number.isInteger(tick) ? tick.toLocaleString("en-US") : "";
}
