import type { Theme } from "./palette.js";

/** What a drawing takes from the page's style. */
export interface Look {
  readonly theme: Theme;
  readonly text: string;
  readonly muted: string;
  readonly grid: string;
  readonly background: string;
  readonly font: string;
}

/** @param printing paper is light, whatever the screen is */
export function lookNow(printing: boolean): Look {
  const root = document.documentElement;
  const style = getComputedStyle(root);
  const of = (name: string) => style.getPropertyValue(name).trim();
  return {
    theme: printing ? "light" : themeNow(),
    ...{ text: of("--text"), muted: of("--muted"), grid: of("--grid"), background: of("--background") },
    font: "12px system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', sans-serif",
  };
}

/** The one that was chosen on the page, else the system's. */
export function themeNow(): Theme {
  const chosen = document.documentElement.dataset["theme"];
  if (chosen === "light" || chosen === "dark") return chosen;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}
