/** Colours of runs, each with at least 4.5:1 before the page's background, and told apart by their dashes too. */
export type Theme = "light" | "dark";

export const RUN_COLOURS: Readonly<Record<Theme, readonly string[]>> = {
  light: ["#1d5fa8", "#b9480f", "#0b7261", "#a1288f", "#7a5c00", "#4b45c6", "#b3203f", "#466b14"],
  dark: ["#6fb1ff", "#ff9d5c", "#4fcfb0", "#e58be6", "#ddb445", "#a9a6ff", "#ff8b9d", "#a9cf5d"],
};

export const BACKGROUNDS: Readonly<Record<Theme, string>> = { light: "#ffffff", dark: "#14171c" };

/** In CSS pixels; runs that share a colour have different ones. */
const DASHES: readonly (readonly number[])[] = [[], [7, 4], [2, 3], [10, 3, 2, 3]];

export function colourOf(run: number, theme: Theme): string {
  const colours = RUN_COLOURS[theme];
  return colours[run % colours.length] ?? "#888888";
}

/** The first is drawn through. */
export function dashOf(run: number): readonly number[] {
  return DASHES[(run + Math.floor(run / RUN_COLOURS.light.length)) % DASHES.length] ?? [];
}

/** `colour` with a share of opacity. */
export function faint(colour: string, share: number): string {
  return `${colour}${Math.round(share * 255)
    .toString(16)
    .padStart(2, "0")}`;
}
