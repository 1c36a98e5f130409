import { type MethodOptions, stepOf } from "../../../src/method/index.js";
import { type Look, rateFrom } from "../../../src/train/rate-rule.js";

type Options<T = MethodOptions> = T extends unknown ? Omit<T, "eps" | "directions"> : never;

function choose(looks: readonly Look[], eps: number, method: Options = { name: "mezo-sgd" }, averaged = 1) {
  const options = { ...method, eps, directions: looks.length };
  return rateFrom(looks, eps, stepOf(options), averaged);
}

/** Losses along a line on which the loss is a + g t + c t^2 / 2, and `noise` is added at each place. */
function look(g: number, c: number, eps: number, noise: readonly number[] = [0, 0, 0, 0]): Look {
  const at = (t: number, i: number) => 3 + g * t + (c * t * t) / 2 + (noise[i] ?? 0);
  return { here: 3, near: [at(eps, 0), at(-eps, 1)], far: [at(2 * eps, 2), at(-2 * eps, 3)] };
}

test("the rate is a tenth of the inverse of the curvatures' root mean square", () => {
  const choice = choose([look(5, 600, 1e-3), look(-2, -800, 1e-3)], 1e-3);
  expect(choice?.curvature.near).toBeCloseTo(Math.sqrt((600 ** 2 + 800 ** 2) / 2), 4);
  expect(choice?.curvature.far).toBeCloseTo(Math.sqrt((600 ** 2 + 800 ** 2) / 2), 4);
  expect(choice?.slope).toBeCloseTo(Math.sqrt((25 + 4) / 2), 6);
  // 0.1 / 707.1
  expect(choice).toMatchObject({ learningRate: 1.4e-4, directions: 2, bound: false, agree: true });
});

describe.each([1, 2, 8, 64])("a descent along %d random directions at a time", (n) => {
  test.each([
    ["one", [1]],
    ["one of some", [100, 1, 1]],
    ["many", Array<number>(1000).fill(2)],
    ["one of many", [50, ...Array<number>(500).fill(0.1)]],
  ])("stays bounded with it, on a parabola that is curved in %s", (_, h) => {
    const trace = h.reduce((sum, x) => sum + x, 0);
    const squares = h.reduce((sum, x) => sum + x * x, 0);
    const rms = Math.sqrt(trace * trace + 2 * squares);
    const rate = choose([look(1e-3, rms, 1e-2)], 1e-2, { name: "mezo-sgd" }, n)?.learningRate ?? NaN;
    // By the fourth moments of Gaussian z, the mean squares m of a distance become, with the mean of n gradients,
    // m_j (1 - 2 r h_j + r^2 h_j^2 (n + 1) / n) + r^2 / n sum_k h_k^2 m_k; the largest rate keeps all of them bounded.
    const bounded = (r: number) =>
      h.every((x) => r * x * (n + 1) < 2 * n) &&
      h.reduce((sum, x) => sum + (r * x) / (2 * n - r * x * (n + 1)), 0) <= 1;
    let [largest, beyond] = [0, 4 / Math.min(...h)];
    for (let i = 0; i < 60; i++) {
      const middle = (largest + beyond) / 2;
      if (bounded(middle)) largest = middle;
      else beyond = middle;
    }
    expect(rate / largest).toBeLessThan(1 / 8);
    if (n === 1) expect(rate / largest).toBeGreaterThan(1 / 21);
  });
});

test("more directions of a step let it be longer by as much as holds for every shape", () => {
  const looks = [look(5, 600, 1e-3), look(-2, -600, 1e-3)];
  const times = (n: number) => (choose(looks, 1e-3, { name: "mezo-sgd" }, n)?.share ?? NaN) / 0.1;
  expect([1, 2, 4, 10].map(times)).toEqual([1, 1.5, 2, 2.5].map((x) => expect.closeTo(x, 10)));
  // In lengths of z a step along the mean of n directions is shorter by the root of n.
  const bound = [look(1000, 1, 1e-3)];
  expect(choose(bound, 1e-3, { name: "mezo-sgd" }, 9)).toMatchObject({ learningRate: 3e-5, bound: true });
});

test("no step goes further than was looked, by ten times", () => {
  expect(choose([look(1000, 1, 1e-3)], 1e-3)).toMatchObject({ learningRate: 1e-5, bound: true });
});

test("curvatures that differ are said, and the one that rounding weighs less in is taken", () => {
  // Rounding of 1e-3 at both places over eps is a curvature of 2000.
  const rounded = choose([look(5, 100, 1e-3, [1e-3, 1e-3, 0, 0])], 1e-3);
  expect(rounded).toMatchObject({ learningRate: 1e-3, agree: false });
  const steep = choose([look(5, 100, 1e-3, [0, 0, 1e-3, 1e-3])], 1e-3);
  expect(steep?.agree).toBe(false);
  // 100 + 2e-3 / 4e-6
  expect(steep?.learningRate).toBeCloseTo(0.1 / 600, 5);
});

test.each([
  ["equal", look(0, 0, 1e-3)],
  ["not finite", look(NaN, 1, 1e-3)],
  ["infinite", look(1, Infinity, 1e-3)],
])("losses that are %s speak for no rate", (_, one) => {
  expect(choose([look(1, 1, 1e-3), one], 1e-3) === null || one.near[0] === one.here).toBe(true);
  expect(choose([one], 1e-3)).toBeNull();
});

describe("a method with coefficients of its own", () => {
  const eps = 1e-3;
  // Slopes of 3 to either side deviate by 3, of a sample of four by 3.46; 0.1 / 100 is the rate of MeZO.
  const looks = [look(3, 100, eps), look(-3, 100, eps), look(3, 100, eps), look(-3, 100, eps)];

  test.each<readonly [Options, number]>([
    [{ name: "fzoo" }, 1e-3 * eps * 3.4641],
    [{ name: "es", fitness: "zscore", antithetic: false }, 1e-3 * 3],
    [{ name: "es", fitness: "zscore", antithetic: true }, 1e-3 * 3],
    // Ranks 1/2, 5/2 of 0 .. 3 are -1/3 and 1/3; of 0 .. 7 they are 3/2 and 11/2, so -2/7 and 2/7.
    [{ name: "es", fitness: "rank", antithetic: false }, 1e-3 * 9],
    [{ name: "es", fitness: "rank", antithetic: true }, 1e-3 * 10.5],
  ])("has the rate that goes as far with it (%j)", (method, rate) => {
    const choice = choose(looks, eps, method);
    // Two digits.
    expect(Math.abs((choice?.learningRate ?? NaN) / rate - 1)).toBeLessThan(0.06);
    expect(choice).toMatchObject({ slope: expect.closeTo(3, 6), bound: false, agree: true });
    expect(((choice?.coefficient ?? NaN) * rate) / (1e-3 * 3)).toBeCloseTo(1, 3);
  });

  it("is bound where MeZO would be", () => {
    expect(choose([look(900, 1, eps), look(-900, 1, eps)], eps, { name: "es", fitness: "zscore", antithetic: true }))
      // 10 eps: its coefficients are 1.
      .toMatchObject({ learningRate: 1e-2, bound: true });
  });

  it("looks at what losses are above that at the weights, so that batches of other losses count alike", () => {
    const moved = looks.map(({ here, near: [p, m], far }, i): Look => {
      const by = 10 ** i;
      return { here: here + by, near: [p + by, m + by], far: [far[0] + by, far[1] + by] };
    });
    for (const name of ["mezo-sgd", "fzoo"] as const) {
      expect(choose(moved, eps, { name })?.learningRate).toBe(choose(looks, eps, { name })?.learningRate);
    }
  });

  it("has none where its coefficients are 0", () => {
    // Equal slopes: nothing deviates.
    const equal = [look(3, 100, eps), look(3, 100, eps)];
    expect(choose(equal, eps)).not.toBeNull();
    expect(choose(equal, eps, { name: "fzoo" })).toBeNull();
  });
});

/** Numbers in [0, 1) that look random. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
}

describe.each([
  // Of the losses beside the weights the curvature is a hundredth; as much as the slope.
  ["flat", 1e-3],
  ["steep", 3e-2],
])("on a parabola, %s over eps, the first steps", (_, eps) => {
  const D = 32;
  const N = 32;
  const slopes = Array.from({ length: D }, (_, j) => (j % 5) - 1.5);
  const curvatures = Array.from({ length: D }, (_, j) => 1 + j);
  const lossAt = (w: readonly number[]) =>
    w.reduce((sum, x, j) => sum + (slopes[j] ?? 0) * x + ((curvatures[j] ?? 0) * x * x) / 2, 2);
  const scaled = (z: readonly number[], by: number) => z.map((x) => x * by);
  const deviationOf = (values: readonly number[], freedom: number) => {
    const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
    return Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (values.length - freedom));
  };
  const next = generator(3);
  const gaussian = () => Math.sqrt(-2 * Math.log(next())) * Math.cos(2 * Math.PI * next());
  const rademacher = () => (next() < 0.5 ? -1 : 1);

  /** As the papers write them: the factors of the directions in the sum that a step goes along, with a rate of 1. */
  const FACTORS: Record<string, (plus: readonly number[], minus: readonly number[]) => readonly number[]> = {
    "mezo-sgd": (plus, minus) => plus.map((l, d) => (l - (minus[d] ?? NaN)) / (2 * eps)),
    fzoo: (plus) => plus.map((l) => (l - lossAt(scaled(slopes, 0))) / eps / deviationOf(plus, 1)),
    es: (plus) => {
      const mean = plus.reduce((sum, l) => sum + l, 0) / plus.length;
      return plus.map((l) => (l - mean) / deviationOf(plus, 0));
    },
    antithetic: (plus, minus) => plus.map((l, d) => (l - (minus[d] ?? NaN)) / 2 / deviationOf([...plus, ...minus], 0)),
    rank: (plus) => plus.map((l) => plus.filter((other) => other < l).length / (plus.length - 1) - 0.5),
  };

  /** Mean square of the length of a step of N directions. */
  function squareOf(kind: string, rate: number, draw: () => number): number {
    const STEPS = 150;
    let sum = 0;
    for (let step = 0; step < STEPS; step++) {
      const zs = Array.from({ length: N }, () => slopes.map(draw));
      const [plus, minus] = [1, -1].map((side) => zs.map((z) => lossAt(scaled(z, side * eps))));
      const factors = FACTORS[kind]?.(plus ?? [], minus ?? []) ?? [];
      for (let j = 0; j < D; j++) {
        const along = zs.reduce((total, z, d) => total + (factors[d] ?? NaN) * (z[j] ?? NaN), 0);
        sum += ((rate / N) * along) ** 2 / STEPS;
      }
    }
    return sum;
  }

  test.each<readonly [string, Options, () => number]>([
    ["fzoo", { name: "fzoo" }, rademacher],
    ["es", { name: "es", fitness: "zscore", antithetic: false }, gaussian],
    ["antithetic", { name: "es", fitness: "zscore", antithetic: true }, gaussian],
    ["rank", { name: "es", fitness: "rank", antithetic: false }, gaussian],
  ])("of %s are about as long as those of MeZO", (kind, method, draw) => {
    const looks = Array.from({ length: 300 }, (): Look => {
      const z = slopes.map(draw);
      const at = (distance: number) => lossAt(scaled(z, distance));
      return { here: at(0), near: [at(eps), at(-eps)], far: [at(2 * eps), at(-2 * eps)] };
    });
    const mezo = squareOf("mezo-sgd", choose(looks, eps)?.learningRate ?? NaN, draw);
    const own = squareOf(kind, choose(looks, eps, method)?.learningRate ?? NaN, draw);
    expect(Math.sqrt(own / mezo)).toBeGreaterThan(0.8);
    expect(Math.sqrt(own / mezo)).toBeLessThan(1.25);
  });
});
