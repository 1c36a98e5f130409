/** What is drawn over the lines: what happened to a run, and its best evaluation. */
import type uPlot from "uplot";
import type { Marker } from "../data.js";
import type { Chart } from "./charts.js";
import type { Look } from "./look.js";
import { colourOf, faint } from "./palette.js";

/** How each kind of marker looks: one that lasted is a band besides. */
const DASH: Readonly<Record<Marker["kind"], readonly number[]>> = { session: [4, 4], dropped: [1, 3] };

interface Canvas {
  readonly u: uPlot;
  readonly context: CanvasRenderingContext2D;
  /** Canvas pixels in one of CSS. */
  readonly scale: number;
}

/** Draws in canvas pixels, inside the plot or as far as `beyond` around it. */
function inside(u: uPlot, beyond: number, draw: (canvas: Canvas) => void): void {
  const { ctx: context, bbox } = u;
  const scale = u.ctx.canvas.width / u.width;
  context.save();
  context.beginPath();
  const more = beyond * scale;
  context.rect(bbox.left - more, bbox.top - more, bbox.width + 2 * more, bbox.height + 2 * more);
  context.clip();
  draw({ u, context, scale });
  context.restore();
}

function prepareText({ context, scale }: Canvas, look: Look): void {
  context.font = look.font.replace("12px", `${11 * scale}px`);
  context.textBaseline = "top";
  context.textAlign = "left";
}

/** @param shown whether a run is */
export function drawMarkers(u: uPlot, chart: Chart, look: Look, shown: (run: number) => boolean, one: boolean): void {
  const marks = chart.markers
    .filter(({ run }) => shown(run))
    .map(({ run, marker }) => ({ marker, colour: one ? look.muted : colourOf(run, look.theme) }))
    .sort((a, b) => a.marker.step - b.marker.step);
  inside(u, 0, (canvas) => {
    for (const { marker, colour } of marks) drawMoment(canvas, marker, colour);
    let free = -Infinity;
    for (const { marker, colour } of marks) free = drawWords(canvas, look, marker, colour, free);
  });
}

/** A line where it began, and a band as long as it lasted. */
function drawMoment({ u, context, scale }: Canvas, marker: Marker, colour: string): void {
  const x = Math.round(u.valToPos(marker.step, "x", true)) + 0.5;
  if (marker.steps > 0) {
    context.fillStyle = faint(colour, 0.2);
    const end = u.valToPos(marker.step + marker.steps, "x", true);
    context.fillRect(x, u.bbox.top, Math.max(end - x, scale), u.bbox.height);
  }
  context.strokeStyle = colour;
  context.lineWidth = scale;
  context.setLineDash(DASH[marker.kind].map((length) => length * scale));
  context.beginPath();
  context.moveTo(x, u.bbox.top);
  context.lineTo(x, u.bbox.top + u.bbox.height);
  context.stroke();
}

/** Words that have no room are left out: a table of the page has them all. @returns from where on there is room */
function drawWords(canvas: Canvas, look: Look, { step, text }: Marker, colour: string, free: number): number {
  const { u, context, scale } = canvas;
  const x = u.valToPos(step, "x", true);
  prepareText(canvas, look);
  const { width } = context.measureText(text);
  const right = u.bbox.left + u.bbox.width;
  const left = x + 5 * scale + width > right ? x - 5 * scale - width : x + 5 * scale;
  if (left < free || left < u.bbox.left) return free;
  legible(canvas, look, colour, text, left, u.bbox.top + 3 * scale);
  return left + width + 8 * scale;
}

/** Of more runs the words would hide the lines. */
const MOST_WORDS = 3;

interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** Rings the best value of each run, and says it beside; where there is no room a table of the page has it. */
export function drawBest(u: uPlot, chart: Chart, look: Look, shown: (run: number) => boolean): void {
  const taken: Box[] = [];
  inside(u, 10, (canvas) => {
    for (const { run, best = null, line } of chart.traces) {
      const value = best === null ? null : (line.values[best] ?? null);
      if (best === null || value === null || !shown(run)) continue;
      const step = line.steps === null ? best : (line.steps[best] ?? 0);
      const [x, y] = [u.valToPos(step, "x", true), u.valToPos(value, "y", true)];
      const colour = colourOf(run, look.theme);
      ring(canvas, x, y, colour);
      if (chart.traces.length > MOST_WORDS) continue;
      prepareText(canvas, look);
      const words = `best ${chart.format(value)}`;
      const box = roomFor(canvas, x, y, canvas.context.measureText(words).width, taken);
      if (box === null) continue;
      taken.push(box);
      legible(canvas, look, colour, words, box.left, box.top);
    }
  });
}

function ring({ context, scale }: Canvas, x: number, y: number, colour: string): void {
  context.strokeStyle = colour;
  context.lineWidth = 2 * scale;
  context.setLineDash([]);
  context.beginPath();
  context.arc(x, y, 8 * scale, 0, 2 * Math.PI);
  context.stroke();
}

/** Above or below a ring, on the side where there is more of the plot, or else on the other. */
function roomFor({ u, scale }: Canvas, x: number, y: number, width: number, taken: readonly Box[]): Box | null {
  const { left, top, width: whole, height } = u.bbox;
  const begin = Math.min(Math.max(x - width / 2, left + 4), left + whole - width - 4);
  const [above, below] = [y - 25 * scale, y + 13 * scale];
  const boxes = (y > top + height / 2 ? [above, below] : [below, above]).map((edge) => ({
    ...{ left: begin, right: begin + width, top: edge, bottom: edge + 13 * scale },
  }));
  const free = (box: Box) =>
    box.top >= top &&
    box.bottom <= top + height &&
    !taken.some((t) => t.left < box.right && box.left < t.right && t.top < box.bottom && box.top < t.bottom);
  return boxes.find(free) ?? null;
}

/** Text with the background around it, over whatever lies there. */
function legible({ context, scale }: Canvas, look: Look, colour: string, words: string, x: number, y: number): void {
  context.setLineDash([]);
  context.lineJoin = "round";
  context.lineWidth = 4 * scale;
  context.strokeStyle = look.background;
  context.strokeText(words, x, y);
  context.fillStyle = colour;
  context.fillText(words, x, y);
}
