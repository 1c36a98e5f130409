/** Which learning rate the losses around a model's weights speak for. */
import { at } from "../base/at.js";
import { coefficientsOf, type MethodStep, rootMeanSquare, stepOf } from "../method/index.js";

/** Losses of one batch along one random direction. */
export interface Look {
  /** At the weights. */
  readonly here: number;
  /** At +eps and -eps. */
  readonly near: readonly [number, number];
  /** At +2 eps and -2 eps. */
  readonly far: readonly [number, number];
}

/** What was measured, and the rate that follows. */
export interface RateChoice {
  readonly learningRate: number;
  /** Directions that were looked along, each on a batch of its own. */
  readonly directions: number;
  /** Of the inverse curvature, what the rate is by it in MeZO's convention: 0.1; of several directions a step, more. */
  readonly share: number;
  /** Root of the mean square of z^T H z: curvatures along them, over eps and over 2 eps. */
  readonly curvature: { readonly near: number; readonly far: number };
  /** Root of the mean square of the projected gradients. */
  readonly slope: number;
  /** Root of the mean square of the coefficients that the method makes of the same losses; of `mezo-sgd` the slope. */
  readonly coefficient: number;
  /** Whether the rate is bound by how far one step would go, and not by the curvature. */
  readonly bound: boolean;
  /** Whether both curvatures are about the same; where they are not, rounding or eps is in the way. */
  readonly agree: boolean;
}

/** Of the inverse curvature, for a step along one direction; docs/methods.md says why. */
const SHARE = 0.1;
/** How far a step may go, in lengths of eps z: what lies beyond was not looked at. */
const REACH = 10;
/** How many times one curvature may be the other. */
const FACTOR = 2;

/** How many times the largest rate of one direction that of `n`, averaged, is at least: on a parabola of any shape. */
const roomOf = (n: number) => (3 * n) / (n + 2);

/**
 * The rate with which a step of the method goes as far as one of MeZO would that has as many directions, and the rate
 * that the curvature allows it.
 * @param step of the method, with a direction for each look
 * @param averaged directions that the method's own step has
 * @returns null where the losses say nothing: all are equal, or one is not finite
 */
export function rateFrom(looks: readonly Look[], eps: number, step: MethodStep, averaged: number): RateChoice | null {
  const curvatureOver = (h: number, side: "near" | "far") =>
    rootMeanSquare(looks.map(({ here, ...look }) => (look[side][0] - here + (look[side][1] - here)) / (h * h)));
  const curvature = { near: curvatureOver(eps, "near"), far: curvatureOver(2 * eps, "far") };
  const slope = coefficientOf(stepOf({ name: "mezo-sgd", eps, directions: looks.length }), looks);
  const coefficient = coefficientOf(step, looks);
  const { near, far } = curvature;
  if (!(near > 0 && far > 0 && slope > 0 && coefficient > 0)) return null;
  if (!Number.isFinite(near + far + slope + coefficient)) return null;
  // Rounding weighs four times as much in the nearer; else the larger one is the safer.
  const used = near > FACTOR * far ? far : Math.max(near, far);
  const share = SHARE * roomOf(averaged);
  const [steady, reached] = [share / used, (REACH * eps * Math.sqrt(averaged)) / slope];
  return {
    learningRate: Number((Math.min(steady, reached) * (slope / coefficient)).toPrecision(2)),
    ...{ directions: looks.length, share, curvature, slope, coefficient, bound: reached < steady },
    agree: near <= FACTOR * far && far <= FACTOR * near,
  };
}

/**
 * Root of the mean square of a step's coefficients. Each loss is taken from that at the weights on its own batch, so
 * that looks on different batches are like the probes of one step.
 */
function coefficientOf({ probes, rule }: MethodStep, looks: readonly Look[]): number {
  const losses = probes.map(({ direction, sign }) => {
    if (direction === null || sign === 0) return 0;
    const { here, near } = at(looks, direction);
    return (sign === 1 ? near[0] : near[1]) - here;
  });
  return rootMeanSquare(coefficientsOf(rule, losses));
}
