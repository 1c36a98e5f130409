import { type Look, rateFrom } from "../../../src/train/rate-rule.js";

/** Losses along a line on which the loss is a + g t + c t^2 / 2, and `noise` is added at each place. */
function look(g: number, c: number, eps: number, noise: readonly number[] = [0, 0, 0, 0]): Look {
  const at = (t: number, i: number) => 3 + g * t + (c * t * t) / 2 + (noise[i] ?? 0);
  return { here: 3, near: [at(eps, 0), at(-eps, 1)], far: [at(2 * eps, 2), at(-2 * eps, 3)] };
}

test("the rate is a tenth of the inverse of the curvatures' root mean square", () => {
  const choice = rateFrom([look(5, 600, 1e-3), look(-2, -800, 1e-3)], 1e-3);
  expect(choice?.curvature.near).toBeCloseTo(Math.sqrt((600 ** 2 + 800 ** 2) / 2), 4);
  expect(choice?.curvature.far).toBeCloseTo(Math.sqrt((600 ** 2 + 800 ** 2) / 2), 4);
  expect(choice?.slope).toBeCloseTo(Math.sqrt((25 + 4) / 2), 6);
  // 0.1 / 707.1
  expect(choice).toMatchObject({ learningRate: 1.4e-4, directions: 2, bound: false, agree: true });
});

test("a descent along random directions stays bounded with it, on parabolas of any shape", () => {
  // E[(1 - lr z z^T H)^2] of the worst direction, by the moments of Gaussian z: below 1 where lr < 2 / (tr H + 2 h).
  for (const h of [[1], [100, 1, 1], Array<number>(1000).fill(2), [50, ...Array<number>(500).fill(0.1)]]) {
    const trace = h.reduce((sum, x) => sum + x, 0);
    const squares = h.reduce((sum, x) => sum + x * x, 0);
    const rms = Math.sqrt(trace * trace + 2 * squares);
    const rate = rateFrom([look(1e-3, rms, 1e-2)], 1e-2)?.learningRate ?? NaN;
    const largest = 2 / (trace + 2 * Math.max(...h));
    expect(rate / largest).toBeGreaterThan(1 / 21);
    expect(rate / largest).toBeLessThan(1 / 8);
  }
});

test("no step goes further than was looked, by ten times", () => {
  expect(rateFrom([look(1000, 1, 1e-3)], 1e-3)).toMatchObject({ learningRate: 1e-5, bound: true });
});

test("curvatures that differ are said, and the one that rounding weighs less in is taken", () => {
  // Rounding of 1e-3 at both places over eps is a curvature of 2000.
  const rounded = rateFrom([look(5, 100, 1e-3, [1e-3, 1e-3, 0, 0])], 1e-3);
  expect(rounded).toMatchObject({ learningRate: 1e-3, agree: false });
  const steep = rateFrom([look(5, 100, 1e-3, [0, 0, 1e-3, 1e-3])], 1e-3);
  expect(steep?.agree).toBe(false);
  // 100 + 2e-3 / 4e-6
  expect(steep?.learningRate).toBeCloseTo(0.1 / 600, 5);
});

test.each([
  ["equal", look(0, 0, 1e-3)],
  ["not finite", look(NaN, 1, 1e-3)],
  ["infinite", look(1, Infinity, 1e-3)],
])("losses that are %s speak for no rate", (_, one) => {
  expect(rateFrom([look(1, 1, 1e-3), one], 1e-3) === null || one.near[0] === one.here).toBe(true);
  expect(rateFrom([one], 1e-3)).toBeNull();
});
