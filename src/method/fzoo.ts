import type { Method } from "./method.js";
import { AT_WEIGHTS, oneSided } from "./probe.js";

/**
 * FZOO (arXiv 2506.09034): one side of each direction, against the loss l at the weights, which all of them share;
 * g = (loss+ - l) / (eps s) with s the deviation of the losses+. As the paper has it, not the released code, which
 * leaves eps out and takes the population's deviation.
 */
export const fzoo: Method<{ readonly eps: number; readonly directions: number }> = {
  name: "fzoo",
  step: ({ eps, directions }) => {
    const sides = oneSided(directions);
    const differences = sides.map((_, d) => ({ minuend: d + 1, subtrahend: 0 }));
    return {
      probes: [AT_WEIGHTS, ...sides],
      rule: { shaping: "none", differences, divisor: eps, normalised: true },
    };
  },
};
