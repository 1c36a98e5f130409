export { formatBytes } from "../base/bytes.js";

/** Seconds for people, two units at most: `"0.42 s"`, `"12.3 s"`, `"4 min 05 s"`, `"1 h 02 min"`, `"3 d 04 h"`. */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) return "-";
  if (seconds < 9.995) return `${seconds.toFixed(2)} s`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${twoDigits(whole % 60)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ${twoDigits(minutes % 60)} min`;
  const hours = Math.round(seconds / 3600);
  return `${Math.floor(hours / 24)} d ${twoDigits(hours % 24)} h`;
}

/** A rate for people: `formatRate(1234.5, "tokens")` is `"1,235 tokens/s"`. */
export function formatRate(perSecond: number, what: string): string {
  if (!Number.isFinite(perSecond) || perSecond < 0) return `- ${what}/s`;
  return `${perSecond < 10 ? perSecond.toFixed(2) : formatCount(perSecond)} ${what}/s`;
}

/** A whole number with commas: `"1,680"`. */
export function formatCount(count: number): string {
  return Math.round(count).toLocaleString("en-US");
}

/** A loss with four digits after the point; `"-"` when there is none. */
export function formatLoss(loss: number): string {
  return Number.isFinite(loss) ? loss.toFixed(4) : "-";
}

/** A share of 1 as a percentage with one decimal: `"71.6 %"`; `"-"` when there is none. */
export function formatShare(share: number | null): string {
  return share === null || !Number.isFinite(share) ? "-" : `${(share * 100).toFixed(1)} %`;
}

function twoDigits(n: number): string {
  return String(n).padStart(2, "0");
}
