import type { Method } from "./method.js";
import { twoSided } from "./probe.js";

/**
 * MeZO-SGD (Malladi et al. 2023, arXiv 2305.17333, algorithm 1, and its n-SPSA): each direction is evaluated to both
 * sides; g = (loss+ - loss-) / (2 eps).
 */
export const mezoSgd: Method<{ readonly eps: number; readonly directions: number }> = {
  name: "mezo-sgd",
  step: ({ eps, directions }) => {
    const { probes, places } = twoSided(directions);
    const differences = places.map(({ plus, minus }) => ({ minuend: plus, subtrahend: minus }));
    return { probes, rule: { shaping: "none", differences, divisor: 2 * eps, normalised: false } };
  },
};
