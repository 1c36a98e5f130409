/** All charts of the page: drawn when its size, its colours or the chosen runs change. */
import type uPlot from "uplot";
import type { Picture } from "../data.js";
import { type Chart, chartsOf, mostSteps } from "./charts.js";
import { draw, type Size } from "./draw.js";
import { lookNow } from "./look.js";

/** Of the plots on paper, which A4 and Letter have room for. */
const PAPER = { wide: { width: 660, height: 250 }, half: { width: 316, height: 190 } } satisfies Record<string, Size>;

export class Board {
  private readonly charts: readonly Chart[];
  private readonly names: readonly string[];
  private readonly mostSteps: number;
  private readonly hidden = new Set<number>();
  private printing = false;
  private drawn: { readonly place: HTMLElement; readonly plot: uPlot }[] = [];

  constructor(picture: Picture) {
    this.charts = chartsOf(picture);
    this.mostSteps = mostSteps(this.charts);
    this.names = picture.runs.map(({ name }) => name);
  }

  /** @param printing whether for paper: light, and as wide as that */
  drawAll(printing = false): void {
    this.printing = printing;
    for (const { plot } of this.drawn) plot.destroy();
    this.drawn = [];
    const look = lookNow(printing);
    const shown = (run: number) => !this.hidden.has(run);
    for (const chart of this.charts) {
      const place = document.querySelector<HTMLElement>(`[data-chart="${chart.id}"] .plot`);
      if (place === null) continue;
      const paper = place.closest(".wide") === null ? PAPER.half : PAPER.wide;
      const size = printing ? paper : sizeIn(place);
      this.drawn.push({ place, plot: draw(chart, place, size, look, this.names, this.mostSteps, shown) });
    }
  }

  /** Follows the size of the page, and keeps what was zoomed to. */
  followSize(): void {
    const observer = new ResizeObserver(() => this.resize());
    for (const place of document.querySelectorAll(".plot")) observer.observe(place);
  }

  private resize(): void {
    if (this.printing) return;
    for (const { place, plot } of this.drawn) {
      const size = sizeIn(place);
      if (size.width !== plot.width || size.height !== plot.height) plot.setSize(size);
    }
  }

  show(run: number, shown: boolean): void {
    if (shown) this.hidden.delete(run);
    else this.hidden.add(run);
    this.drawAll();
  }
}

function sizeIn(place: HTMLElement): Size {
  return { width: Math.max(160, Math.floor(place.clientWidth)), height: place.clientHeight };
}
