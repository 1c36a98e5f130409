import type { Method } from "./method.js";
import { mezoSgd } from "./mezo.js";

/**
 * LOZO (Chen et al. 2024, arXiv 2410.07698): MeZO's step along directions of low rank, which are its noise
 * (`LowRankNoise`). The update is c u v^T as in its code, without the paper's 1 / rank; its momentum is not here
 * (docs/methods.md says why).
 */
export const lozo: Method<{ readonly eps: number; readonly directions: number }> = {
  name: "lozo",
  step: mezoSgd.step,
};
