import { at } from "../base/at.js";

const LEAST_BINS = 8;
const MOST_BINS = 80;

/**
 * Borders of bins of one width over all values, by the rule of Freedman and Diaconis (twice the distance of the
 * quartiles over the cube root of the count), which a few far values do not move. Empty where there are none.
 */
export function binsOf(values: readonly number[]): number[] {
  const sorted = Float64Array.from(values.filter(Number.isFinite)).sort();
  if (sorted.length === 0) return [];
  const low = at(sorted, 0);
  const high = at(sorted, sorted.length - 1);
  const middle = at(sorted, Math.floor(sorted.length * 0.75)) - at(sorted, Math.floor(sorted.length * 0.25));
  const range = high > low ? high - low : Math.abs(low) || 1;
  const wanted = middle > 0 ? Math.ceil((range * Math.cbrt(sorted.length)) / (2 * middle)) : LEAST_BINS;
  const bins = Math.min(MOST_BINS, Math.max(LEAST_BINS, wanted));
  const begin = high > low ? low : low - range / 2;
  return Array.from({ length: bins + 1 }, (_, i) => begin + (range * i) / bins);
}

/** Share of the values in each bin, as a percentage. */
export function sharesOf(values: readonly number[], bins: readonly number[]): number[] {
  if (bins.length < 2) return [];
  const counts = Array.from({ length: bins.length - 1 }, () => 0);
  const low = at(bins, 0);
  const width = (at(bins, bins.length - 1) - low) / counts.length;
  const finite = values.filter(Number.isFinite);
  for (const value of finite) {
    const bin = Math.min(counts.length - 1, Math.max(0, Math.floor((value - low) / width)));
    counts[bin] = at(counts, bin) + 1;
  }
  return counts.map((n) => (finite.length === 0 ? 0 : (100 * n) / finite.length));
}
