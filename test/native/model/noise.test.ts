/** The noise of each kind as a step's update shows it: its values, and that the probes stand along the same one. */
import path from "node:path";
import { packBatch } from "../../../src/data/index.js";
import { canonicalLength } from "../../../src/ops/parameter.js";
import { fixtures, sessionOf, takeSteps, withModel } from "./helpers.js";

const ids = Int32Array.from({ length: 12 }, (_, t) => (t * 29 + 7) % 208);
const batch = packBatch([{ kind: "tokens", ids, labels: ids }]);
const dir = path.join(fixtures, "models/llama");
type Kind = "gaussian" | "rademacher";
const of = (noise: Kind, seed = 3n) => ({ seed, step: 0, eps: 1e-2, noise });

/** z of a step, in the canonical order: what a step of rate 1 and gradient 1 takes from every weight. */
function drawn(noise: Kind, seed?: bigint): Promise<Float32Array> {
  return withModel(dir, { offload: { wire: "fp32" } }, async (model) => {
    const before: Float32Array[] = [];
    for (const p of model.parameters) before.push(await model.parameterValues(p.name));
    const { step: _, ...direction } = of(noise, seed);
    await takeSteps(model, [batch], () => ({ ...direction, learningRate: 1, weightDecay: 0, projectedGradient: 1 }));
    const z = new Float32Array(canonicalLength(model.parameters));
    for (const [i, p] of model.parameters.entries()) {
      const after = await model.parameterValues(p.name);
      for (let k = 0; k < p.count; k++) z[p.canonical + k] = before[i][k] - after[k];
    }
    return z;
  });
}

/** Log-probabilities with the weights eps to a side along a direction. */
const standing = (noise: Kind | { z: Float32Array }, sign: 1 | -1, seed?: bigint) =>
  withModel(dir, { offload: { wire: "fp32" } }, async (model) => {
    const probe = { of: { ...of("gaussian", seed), noise }, at: { direction: 0, sign } };
    return (await sessionOf(model).forward([batch], { probe }))[0];
  });
const most = (a: Float32Array, b: Float32Array) =>
  a.reduce((worst, value, i) => Math.max(worst, Math.abs(value - b[i])), 0);

/** Mean, mean square and mean fourth power of the elements that are a weight's; padding is 0. */
function moments(z: Float32Array): { count: number; powers: number[] } {
  let [count, one, two, four] = [0, 0, 0, 0];
  for (let i = 0; i < z.length; i++) {
    const value = z[i];
    if (value === 0) continue;
    count++;
    one += value;
    two += value * value;
    four += value ** 4;
  }
  return { count, powers: [one / count, two / count, four / count] };
}

// Mean fourth powers are 3 of a normal distribution, and 1 of signs; tolerances are five standard deviations.
it.each([
  ["gaussian", 1, 3, Math.sqrt(2), Math.sqrt(96)],
  ["rademacher", 1, 1, 0, 0],
] as const)("%s noise has its distribution, and is drawn anew for each seed", async (kind, second, fourth, d2, d4) => {
  const z = await drawn(kind);
  const { count, powers } = moments(z);
  const of5 = (deviation: number) => (5 * deviation) / Math.sqrt(count) + 1e-5;
  expect(count).toBeGreaterThan(50_000);
  expect(Math.abs(powers[0])).toBeLessThan(of5(1));
  expect(Math.abs(powers[1] - second)).toBeLessThan(of5(d2));
  expect(Math.abs(powers[2] - fourth)).toBeLessThan(of5(d4));
  const other = await drawn(kind, 4n);
  let product = 0;
  for (let i = 0; i < z.length; i++) product += z[i] * other[i];
  expect(Math.abs(product / count)).toBeLessThan(of5(1));
});

it.each(["gaussian", "rademacher"] as const)("%s: the probes stand along the noise of the update", async (kind) => {
  const z = await drawn(kind);
  const sides = { plus: await standing(kind, 1), minus: await standing(kind, -1) };
  expect(most(sides.plus, await standing({ z }, 1))).toBeLessThan(1e-4);
  expect(most(sides.minus, await standing({ z }, -1))).toBeLessThan(1e-4);
  expect(most(sides.plus, sides.minus)).toBeGreaterThan(1e-2);
  expect(most(sides.plus, await standing(kind, 1, 4n))).toBeGreaterThan(1e-2);
  expect(most(sides.plus, await standing(kind === "gaussian" ? "rademacher" : "gaussian", 1))).toBeGreaterThan(1e-2);
});
