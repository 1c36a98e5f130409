/** The lanes of a step as a picture: a row for each, a bar for each command, predicted above measured on one axis. */
import { at } from "../base/at.js";
import { formatBytes, formatCount } from "../report/units.js";
import { html, type Markup } from "./html.js";

/** A command on a lane. Seconds from where the step before has ended. */
export interface LaneBar {
  readonly lane: string;
  readonly what: string;
  /** Name of the unit; null for what concerns none. */
  readonly unit: string | null;
  readonly probe?: number | undefined;
  readonly begin: number;
  readonly end: number;
  /** Moved between host and device. */
  readonly bytes?: number | undefined;
  readonly draws?: number | undefined;
  readonly flops?: number | undefined;
  /** What it waited for while its lane was free; null: it did not wait, or nobody knows for what. */
  readonly cause: BarCause | null;
}

export interface BarCause {
  readonly what: string;
  readonly lane: string;
  readonly unit: string | null;
}

/** A step, predicted or measured. */
export interface LaneStep {
  readonly title: string;
  readonly seconds: number;
  readonly bars: readonly LaneBar[];
}

/** The time in which a lane does nothing, between two commands or before the first. */
export interface Wait {
  readonly lane: string;
  readonly begin: number;
  readonly end: number;
  readonly cause: BarCause | null;
}

/** Kinds of bars, with the words for them. Others have one colour together. */
const KINDS: Readonly<Record<string, string>> = {
  upload: "upload",
  offload: "offload",
  prepare: "prepare: update, W+ and W-",
  run: "forward pass of a unit",
  other: "other commands",
};

const LABEL_WIDTH = 84;
const RIGHT = 16;
const ROW = 30;
const BAR = 20;
const HEAD = 26;
const AXIS = 24;
const GAP = 14;
/** Pixels for which a page has room; a step of many commands is wider, and scrolls. */
const LEAST_WIDTH = 1100;
const MOST_WIDTH = 8000;
const WIDTH_OF_BAR = 9;
/** A label of as many characters takes this, at least. */
const CHARACTER = 6.2;
const TICKS = 10;

/** What stands below a picture. */
export const AXIS_NOTE = html`<p class="note">Time runs from where the step before has ended to where this one ends
(upright lines); what stands before or behind belongs to this step too. <span class="screen-only">Point at a bar for
what it is, its bytes and what it waited for.</span></p>`;

export function lanePicture(steps: readonly LaneStep[], lanes: readonly string[]): Markup {
  const bars = steps.flatMap((step) => step.bars);
  const from = bars.reduce((least, { begin }) => Math.min(least, begin), 0);
  const to = steps.reduce(
    (most, step) => step.bars.reduce((a, { end }) => Math.max(a, end), Math.max(most, step.seconds)),
    0,
  );
  const most = Math.max(0, ...steps.flatMap((s) => lanes.map((lane) => s.bars.filter((b) => b.lane === lane).length)));
  const width = Math.min(MOST_WIDTH, Math.max(LEAST_WIDTH, LABEL_WIDTH + RIGHT + WIDTH_OF_BAR * most));
  const scale = (width - LABEL_WIDTH - RIGHT) / (to - from || 1);
  const x = (seconds: number) => LABEL_WIDTH + (seconds - from) * scale;
  const panel = HEAD + lanes.length * ROW + GAP;
  const height = steps.length * panel + AXIS;
  const ticks = ticksOf(from, to);
  const grid = ticks.map((tick) => {
    const place = x(tick).toFixed(1);
    return html`<line class="grid" x1="${place}" x2="${place}" y1="${HEAD}" y2="${height - AXIS}"/><text class="tick"
x="${place}" y="${height - 8}">${tickText(tick)}</text>
`;
  });
  const panels = steps.map((step, i) => panelOf(step, lanes, { x, top: i * panel, width }));
  return html`<p class="legend-line">${legend()}</p>
<div class="scroll"><svg class="lanes" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img"
aria-label="${steps.map(({ title }) => title).join(", ")}">${grid}
${panels}</svg></div>`;
}

function legend(): Markup[] {
  const entries = Object.entries(KINDS).map(
    ([kind, words]) => html`<span class="legend-entry"><i class="legend-swatch bar-${kind}"></i>${words}</span> `,
  );
  return [
    ...entries,
    html`<span class="legend-entry"><i class="legend-swatch legend-wait bar-wait"></i>the lane waits</span>`,
  ];
}

interface Panel {
  readonly x: (seconds: number) => number;
  readonly top: number;
  readonly width: number;
}

function panelOf(step: LaneStep, lanes: readonly string[], { x, top, width }: Panel): Markup {
  const rows = lanes.map((lane, i) => {
    const y = top + HEAD + i * ROW;
    const bars = step.bars.filter((bar) => bar.lane === lane);
    const name = html`<text class="lane-name" x="${LABEL_WIDTH - 8}" y="${y + BAR - 4}">${lane}</text>`;
    const waits = waitsOf(bars).map((wait) => {
      const [begin, end] = [x(wait.begin), x(wait.end)];
      return html`<rect class="bar-wait" x="${begin.toFixed(2)}" y="${y + BAR / 2 - 2}"
width="${(end - begin).toFixed(2)}" height="4"><title>${waitText(wait)}</title></rect>
`;
    });
    return html`${name}${waits}${bars.map((bar) => barOf(bar, x, y))}`;
  });
  const ends = [0, step.seconds].map((seconds) => {
    const place = x(seconds).toFixed(1);
    return html`<line class="edge" x1="${place}" x2="${place}" y1="${top + HEAD - 4}"
y2="${top + HEAD + lanes.length * ROW}"/>`;
  });
  const title = `${step.title}: ${secondsText(step.seconds)}`;
  return html`<g><text class="panel-title" x="${LABEL_WIDTH}" y="${top + 16}">${title}</text><line class="rule" x1="0"
x2="${width}" y1="${top + 0.5}" y2="${top + 0.5}"/>${rows}${ends}</g>
`;
}

function barOf(bar: LaneBar, x: (seconds: number) => number, y: number): Markup {
  const [begin, end] = [x(bar.begin), x(bar.end)];
  const width = Math.max(0.5, end - begin);
  const kind = Object.hasOwn(KINDS, bar.what) ? bar.what : "other";
  const label = bar.unit ?? bar.what;
  const text =
    width > label.length * CHARACTER + 6
      ? html`<text class="bar-label" x="${(begin + width / 2).toFixed(1)}" y="${y + BAR - 6}">${label}</text>`
      : null;
  return html`<g><title>${barText(bar)}</title><rect class="bar-${kind}" x="${begin.toFixed(2)}" y="${y}"
width="${width.toFixed(2)}" height="${BAR}" rx="1.5"/>${text}</g>
`;
}

/** What hovering says. */
function barText(bar: LaneBar): string {
  const { what, unit, probe, begin, end, bytes = 0, draws = 0, flops = 0, cause } = bar;
  const seconds = end - begin;
  const per = (amount: number, unitName: string, scale: number) =>
    `${(amount / scale / seconds).toPrecision(3)} ${unitName}`;
  const lines = [
    `${what}${unit === null ? "" : ` ${unit}`}${probe === undefined ? "" : `, probe ${probe}`}`,
    `${secondsText(begin)} to ${secondsText(end)}: ${secondsText(seconds)}`,
    bytes > 0 ? `${formatBytes(bytes)}, ${per(bytes, "GB/s", 1e9)}` : null,
    draws > 0 ? `${formatCount(draws)} values of noise, ${per(draws, "M/s", 1e6)}` : null,
    flops > 0 ? `${(flops / 1e9).toPrecision(3)} GFLOP of products, ${per(flops, "GFLOP/s", 1e9)}` : null,
    cause === null ? null : `waited for ${causeText(cause)}`,
  ];
  return lines.filter((line) => line !== null).join("\n");
}

/** Where a lane does nothing from its first command on. @param bars of one lane */
export function waitsOf(bars: readonly LaneBar[]): Wait[] {
  const sorted = [...bars].sort((a, b) => a.begin - b.begin);
  return sorted.flatMap((bar, i) => {
    const before = sorted[i - 1];
    if (before === undefined || bar.begin <= before.end) return [];
    return [{ lane: bar.lane, begin: before.end, end: bar.begin, cause: bar.cause }];
  });
}

function waitText({ begin, end, cause }: Wait): string {
  return `waits ${secondsText(end - begin)}${cause === null ? "" : ` for ${causeText(cause)}`}`;
}

function causeText({ what, unit, lane }: BarCause): string {
  return `${what}${unit === null ? "" : ` of ${unit}`} on the ${lane} lane`;
}

/** Round times, about as many as are readable. */
function ticksOf(from: number, to: number): number[] {
  const rough = (to - from) / TICKS || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step =
    power *
    at(
      [1, 2, 5, 10].filter((factor) => factor * power >= rough),
      0,
    );
  const first = Math.ceil(from / step);
  const count = Math.floor(to / step) - first + 1;
  return Array.from({ length: Math.max(0, count) }, (_, i) => (first + i) * step);
}

function tickText(seconds: number): string {
  return seconds === 0 ? "0" : secondsText(Number(seconds.toPrecision(6)));
}

/** `"12.3 ms"`, `"1.20 s"` */
export function secondsText(seconds: number): string {
  const size = Math.abs(seconds);
  if (size >= 1) return `${Number(seconds.toPrecision(4))} s`;
  if (size >= 1e-3) return `${Number((seconds * 1e3).toPrecision(3))} ms`;
  return `${Number((seconds * 1e6).toPrecision(3))} µs`;
}
