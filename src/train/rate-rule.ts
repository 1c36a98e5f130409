/** Which learning rate the losses around a model's weights speak for. */
import { rootMeanSquare } from "../method/index.js";

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
  /** Root of the mean square of z^T H z: curvatures along them, over eps and over 2 eps. */
  readonly curvature: { readonly near: number; readonly far: number };
  /** Root of the mean square of the projected gradients. */
  readonly slope: number;
  /** Whether the rate is bound by how far one step would go, and not by the curvature. */
  readonly bound: boolean;
  /** Whether both curvatures are about the same; where they are not, rounding or eps is in the way. */
  readonly agree: boolean;
}

/** Of the inverse curvature; docs/methods.md says why. */
const SHARE = 0.1;
/** How far a step may go along its direction, in units of eps: what lies beyond was not looked at. */
const REACH = 10;
/** How many times one curvature may be the other. */
const FACTOR = 2;

/** Null where the losses say nothing: all are equal, or one is not finite. */
export function rateFrom(looks: readonly Look[], eps: number): RateChoice | null {
  const curvatureOver = (h: number, side: "near" | "far") =>
    rootMeanSquare(looks.map(({ here, ...look }) => (look[side][0] - here + (look[side][1] - here)) / (h * h)));
  const curvature = { near: curvatureOver(eps, "near"), far: curvatureOver(2 * eps, "far") };
  const slope = rootMeanSquare(looks.map(({ near: [plus, minus] }) => (plus - minus) / (2 * eps)));
  const { near, far } = curvature;
  if (!(near > 0 && far > 0 && slope > 0) || !Number.isFinite(near + far + slope)) return null;
  // Rounding weighs four times as much in the nearer; else the larger one is the safer.
  const used = near > FACTOR * far ? far : Math.max(near, far);
  const [steady, reached] = [SHARE / used, (REACH * eps) / slope];
  return {
    learningRate: Number(Math.min(steady, reached).toPrecision(2)),
    ...{ directions: looks.length, curvature, slope, bound: reached < steady },
    agree: near <= FACTOR * far && far <= FACTOR * near,
  };
}
