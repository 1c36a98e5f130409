import { at } from "../base/at.js";
/** Where a step evaluates the loss, and how the losses become one coefficient for each direction. */

/** One evaluation: `sign` eps away from the weights along a direction, or at the weights themselves. */
export interface Probe {
  /** Which of the step's directions; null at the weights. */
  readonly direction: number | null;
  readonly sign: 1 | -1 | 0;
}

/** The weights as they are: evaluation, and the base of one-sided methods. */
export const AT_WEIGHTS: Probe = { direction: null, sign: 0 };

/** Probes that share one drawing of noise, by their place among those of the step: at most two, the sides. */
export interface Draw {
  readonly direction: number | null;
  readonly probes: readonly number[];
  /** Of each probe. */
  readonly signs: readonly Probe["sign"][];
}

/** Groups probes that follow each other along one direction, so that a visit draws its noise once. */
export function drawsOf(probes: readonly Probe[]): readonly Draw[] {
  const draws: { direction: number | null; probes: number[]; signs: Probe["sign"][] }[] = [];
  probes.forEach(({ direction, sign }, p) => {
    const last = draws.at(-1);
    if (last !== undefined && direction !== null && last.direction === direction && last.probes.length < 2) {
      last.probes.push(p);
      last.signs.push(sign);
    } else {
      draws.push({ direction, probes: [p], signs: [sign] });
    }
  });
  return draws;
}

/** coefficient of direction d = (loss of `minuend` - loss of `subtrahend`) / divisor; probes by their place. */
export interface CoefficientRule {
  readonly differences: readonly { readonly minuend: number; readonly subtrahend: number }[];
  readonly divisor: number;
}

/** The coefficients as the device computes them: in fp64, rounded once to fp32. */
export function coefficientsOf({ differences, divisor }: CoefficientRule, losses: readonly number[]): number[] {
  const loss = (probe: number) => at(losses, probe);
  return differences.map(({ minuend, subtrahend }) => Math.fround((loss(minuend) - loss(subtrahend)) / divisor));
}
