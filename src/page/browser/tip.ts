/** The values under the pointer, beside it. */
import type uPlot from "uplot";
import type { Chart } from "./charts.js";
import { count } from "./format.js";
import type { Look } from "./look.js";
import { colourOf } from "./palette.js";

const GAP = 14;

/** An element of the page with text, and no HTML in it. */
function element(name: string, className: string, words = ""): HTMLElement {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = words;
  return made;
}

export function tip(chart: Chart, names: readonly string[], look: Look): uPlot.Plugin {
  const box = element("div", "tip");
  box.hidden = true;
  return {
    hooks: {
      init: (u) => {
        u.over.append(box);
      },
      setCursor: (u) => {
        const { left = -1, top = -1, idx } = u.cursor;
        // Charts that follow another one's pointer show their line, and no box.
        box.hidden = left < 0 || top < 0 || typeof idx !== "number" || !u.over.matches(":hover");
        if (box.hidden || typeof idx !== "number") return;
        box.replaceChildren(...rows(u, idx, chart, names, look));
        const { width, height } = u.over.getBoundingClientRect();
        const beyond = left + GAP + box.offsetWidth > width;
        box.style.left = `${Math.max(0, beyond ? left - GAP - box.offsetWidth : left + GAP)}px`;
        box.style.top = `${Math.min(Math.max(0, top - GAP), Math.max(0, height - box.offsetHeight))}px`;
      },
    },
  };
}

function rows(u: uPlot, idx: number, chart: Chart, names: readonly string[], look: Look): HTMLElement[] {
  const x = u.data[0][idx] ?? 0;
  const head = chart.overSteps ? `${chart.x} ${count(x)}` : `${chart.x} from ${chart.format(x)}`;
  const shown = chart.traces.flatMap((trace, i) => {
    const series = u.series[i + 1];
    const place = u.cursor.idxs?.[i + 1];
    const value = typeof place === "number" ? u.data[i + 1]?.[place] : null;
    if (series?.show !== true || value === null || value === undefined) return [];
    const row = element("div", "tip-row");
    const swatch = element("span", "tip-swatch");
    swatch.style.background = colourOf(trace.run, look.theme);
    const what = [names.length > 1 ? (names[trace.run] ?? "") : "", trace.label].filter((part) => part !== "");
    row.append(swatch, element("span", "tip-name", what.join(", ")), element("b", "", chart.format(value)));
    return [row];
  });
  return [element("div", "tip-head", head), ...shown];
}
