/** Steps of every method against a program in double precision that shares nothing with ours: scripts/golden. */
import path from "node:path";
import { type MethodProbes, noiseOf } from "../../../src/config/methods/index.js";
import type { PackedBatch } from "../../../src/data/index.js";
import type { StepRequest } from "../../../src/device/requests.js";
import { type MethodOptions, stepOf, varianceOf } from "../../../src/method/index.js";
import { fixtures, packed, readJson, sessionOf, some, withModel } from "./helpers.js";

type Recorded = MethodOptions & {
  readonly eps: number;
  readonly learningRate: number;
  readonly weightDecay: number;
  /** Absent: it is the method's own. */
  readonly noise?: "gaussian" | "rademacher";
};

interface Run {
  readonly method: Recorded;
  readonly steps: readonly { readonly losses: readonly number[]; readonly coefficients: readonly number[] }[];
  readonly params: Record<string, { sum: number; first4: number[]; last4: number[] }>;
}

const { seed, runs }: { seed: string; runs: readonly Run[] } = readJson("trajectories", "methods-A.json");
const train: PackedBatch[] = readJson("trajectories", "inputs-A.json").train.map(packed);
const CASES = some(runs, 2).map((run): [string, Run] => [JSON.stringify(run.method), run]);

/** As far as fp32 may be from double precision; deviations of losses are some 10^4 times what a loss is off. */
const LOSS = 5e-6;
const COEFFICIENT = 2e-3;

const close = (a: number, b: number, tolerance: number) => expect(Math.abs(a - b)).toBeLessThanOrEqual(tolerance);

it.each(CASES)("%s: losses, coefficients and weights of 20 steps", (_, { method, steps, params }) =>
  withModel(path.join(fixtures, "trajectories/models/A"), { offload: { wire: "fp32" } }, async (model) => {
    const session = sessionOf(model);
    const { probes, rule } = stepOf(method);
    const noise = noiseOf(method as MethodProbes & Recorded);
    const taken = some(steps, 2);
    for (const [step, { losses, coefficients }] of taken.entries()) {
      const { eps, learningRate, weightDecay } = method;
      const request: StepRequest = {
        ...{ seed: BigInt(seed), step, eps, noise, probes, rule },
        learningRate,
        weightDecay,
      };
      const found = await (await session.step([train[step]], request)).result;
      session.commit();
      expect([found.losses.length, found.coefficients.length]).toEqual([losses.length, coefficients.length]);
      losses.forEach((loss, p) => close(found.losses[p], loss, LOSS));
      const scale = Math.max(...coefficients.map(Math.abs));
      coefficients.forEach((coefficient, d) => close(found.coefficients[d], coefficient, COEFFICIENT * scale));
    }
    // Those on record are of the last step.
    if (taken.length < steps.length) return;
    const largest = Math.max(...steps.flatMap(({ coefficients }) => coefficients.map(Math.abs)));
    // Twenty updates, each off by what its coefficients are, along noise of some 4 at most (of low rank, of products
    // of two); and fp32's rounding.
    const reach = 4 * varianceOf(noise) * (typeof noise === "string" ? 1 : 4);
    const tolerance = steps.length * method.learningRate * largest * COEFFICIENT * reach + 3e-6;
    for (const { name, count } of model.parameters) {
      const values = await model.parameterValues(name);
      const { sum, first4, last4 } = params[name];
      close(values.reduce((a, b) => a + b, 0) / count, sum / count, tolerance);
      first4.forEach((w, i) => close(values[i], w, tolerance));
      last4.forEach((w, i) => close(values[count - last4.length + i], w, tolerance));
    }
  }),
);
