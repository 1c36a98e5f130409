import { at } from "../base/at.js";

/** What losses become before differences are taken: see `zo2_shaping` in `contract/zo2.h`. */
export type Shaping = "none" | "zscore" | "rank";

/**
 * coefficient of direction d = (loss of `minuend` - loss of `subtrahend`) / `divisor`, of losses that were shaped;
 * probes by their place. A `subtrahend` of null stands for 0.
 */
export interface CoefficientRule {
  readonly shaping: Shaping;
  readonly differences: readonly { readonly minuend: number; readonly subtrahend: number | null }[];
  readonly divisor: number;
  /** Whether that is divided by the deviation of the minuends' losses; where they do not deviate, it is 0. */
  readonly normalised: boolean;
}

/** Of losses that are z-scored: none is divided by 0. */
const ZSCORE_FLOOR = 1e-8;

/** The coefficients as the device computes them (`numerics/coefficients.h`): in fp64, rounded once to fp32. */
export function coefficientsOf(rule: CoefficientRule, losses: readonly number[]): number[] {
  const { differences, divisor, normalised } = rule;
  const values = shaped(rule.shaping, losses);
  const deviation = normalised
    ? momentsOf(
        differences.map(({ minuend }) => at(losses, minuend)),
        1,
      ).deviation
    : 1;
  return differences.map(({ minuend, subtrahend }) => {
    const quotient = (at(values, minuend) - (subtrahend === null ? 0 : at(values, subtrahend))) / divisor;
    // 0 where it is finite.
    return Math.fround(deviation === 0 ? quotient - quotient : quotient / deviation);
  });
}

function shaped(shaping: Shaping, losses: readonly number[]): readonly number[] {
  switch (shaping) {
    case "none":
      return losses;
    case "zscore": {
      const { mean, deviation } = momentsOf(losses, 0);
      const first = at(losses, 0);
      return losses.map((loss) => (loss - first - mean) / (deviation + ZSCORE_FLOOR));
    }
    case "rank": {
      if (!losses.every(Number.isFinite)) return losses.map(() => Number.NaN);
      return losses.map((loss) => {
        const below = losses.filter((other) => other < loss).length;
        const equal = losses.filter((other) => other === loss).length;
        return ((2 * below + equal - 1) * 0.5) / (losses.length - 1) - 0.5;
      });
    }
  }
}

/** The mean is that of what the losses are above the first, so that equal ones deviate by 0. */
function momentsOf(losses: readonly number[], freedom: number): { readonly mean: number; readonly deviation: number } {
  const first = at(losses, 0);
  const mean = losses.reduce((sum, loss) => sum + (loss - first), 0) / losses.length;
  const squares = losses.reduce((sum, loss) => sum + (loss - first - mean) * (loss - first - mean), 0);
  return { mean, deviation: Math.sqrt(squares / Math.max(losses.length - freedom, 1)) };
}
