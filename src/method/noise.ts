/** The distribution that directions are drawn from. */

/**
 * z of a matrix is the sum of `rank` products u v^T of Gaussian vectors, of which those of the columns, v, stay for
 * `interval` steps; a vector's z is Gaussian (`numerics/low_rank.h`).
 */
export interface LowRankNoise {
  readonly kind: "low-rank";
  readonly rank: number;
  readonly interval: number;
}

export type DrawnNoise = "gaussian" | "rademacher" | LowRankNoise;

/** Of one element of a matrix. */
export function varianceOf(noise: DrawnNoise): number {
  return typeof noise === "string" ? 1 : noise.rank;
}

/** For people. */
export function noiseText(noise: DrawnNoise): string {
  return typeof noise === "string" ? noise : `${noise.kind} (rank ${noise.rank}, interval ${noise.interval})`;
}
