import type { Method } from "./method.js";

/**
 * MeZO-SGD (Malladi et al. 2023, arXiv 2305.17333, algorithm 1): one direction a step, evaluated to both sides;
 * g = (loss+ - loss-) / (2 eps).
 */
export const mezoSgd: Method<{ readonly eps: number }> = {
  name: "mezo-sgd",
  step: ({ eps }) => ({
    probes: [
      { direction: 0, sign: 1 },
      { direction: 0, sign: -1 },
    ],
    rule: { differences: [{ minuend: 0, subtrahend: 1 }], divisor: 2 * eps },
  }),
  sides: ["plus", "minus"],
  report: ({ losses: [lossPlus = Number.NaN, lossMinus = Number.NaN], coefficients: [g = Number.NaN] }) => ({
    loss: (lossPlus + lossMinus) / 2,
    lossPlus,
    lossMinus,
    projectedGradient: g,
  }),
};
