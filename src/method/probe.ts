/** Where a step evaluates the loss. */

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

/** Probes to both sides of each direction, and to each direction the places of its two. */
export function twoSided(directions: number): {
  readonly probes: readonly Probe[];
  readonly places: readonly { readonly plus: number; readonly minus: number }[];
} {
  const all = Array.from({ length: directions }, (_, direction) => direction);
  return {
    probes: all.flatMap((direction): Probe[] => [
      { direction, sign: 1 },
      { direction, sign: -1 },
    ]),
    places: all.map((direction) => ({ plus: 2 * direction, minus: 2 * direction + 1 })),
  };
}

/** A probe to the plus side of each direction. */
export function oneSided(directions: number): readonly Probe[] {
  return Array.from({ length: directions }, (_, direction) => ({ direction, sign: 1 }));
}

/** How many directions probes stand along. */
export function directionsOf(probes: readonly Probe[]): number {
  return new Set(probes.flatMap(({ direction }) => direction ?? [])).size;
}
