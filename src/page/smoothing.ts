/**
 * The mean of the past with weights that fall by `1 - alpha` a step, alpha = 2 / (span + 1), divided by the sum of the
 * weights: the first values are not drawn towards zero. Values that are not finite are passed over.
 */
export function smoothed(values: readonly number[], span: number): number[] {
  return ratio(
    values.map((value) => (Number.isFinite(value) ? { over: value, under: 1 } : null)),
    span,
  );
}

/** The same of a quotient: both sides are smoothed, so that a rate weighs its steps by what they took. */
export function ratio(parts: readonly ({ readonly over: number; readonly under: number } | null)[], span: number) {
  const keep = 1 - 2 / (span + 1);
  let over = 0;
  let under = 0;
  return parts.map((part) => {
    if (part !== null) {
      over = keep * over + part.over;
      under = keep * under + part.under;
    }
    return under === 0 ? NaN : over / under;
  });
}

const LEAST_SPAN = 10;
const LARGEST_SPAN = 500;

/** A twentieth of the steps of the longest run: enough to see through the noise of single steps, and no course lost. */
export function spanFor(steps: number): number {
  return Math.min(LARGEST_SPAN, Math.max(LEAST_SPAN, Math.round(steps / 20)));
}
