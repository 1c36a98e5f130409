import type { Shaping } from "./coefficients.js";
import type { Method } from "./method.js";
import { oneSided, twoSided } from "./probe.js";

/**
 * Evolution strategies: the fitness of a probe among those of its step, z-scored (VsonicV/es-at-scale) or ranked
 * (Salimans et al. 2017, arXiv 1703.03864), is the coefficient of its direction; eps is in the learning rate. To both
 * sides, antithetic, it is half their difference. A loss is the reward with its sign turned.
 */
export const es: Method<{
  readonly directions: number;
  readonly fitness: Exclude<Shaping, "none">;
  readonly antithetic: boolean;
}> = {
  name: "es",
  step: ({ directions, fitness, antithetic }) => {
    const rule = { shaping: fitness, normalised: false };
    if (!antithetic) {
      const probes = oneSided(directions);
      const differences = probes.map((_, d) => ({ minuend: d, subtrahend: null }));
      return { probes, rule: { ...rule, differences, divisor: 1 } };
    }
    const { probes, places } = twoSided(directions);
    const differences = places.map(({ plus, minus }) => ({ minuend: plus, subtrahend: minus }));
    return { probes, rule: { ...rule, differences, divisor: 2 } };
  },
};
