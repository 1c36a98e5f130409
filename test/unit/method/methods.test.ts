import {
  AT_WEIGHTS,
  type CoefficientRule,
  coefficientsOf,
  directionsOf,
  type MethodOptions,
  type Probe,
  reportOf,
  stepOf,
} from "../../../src/method/index.js";

const probe = (direction: number, sign: 1 | -1): Probe => ({ direction, sign });
const { fround } = Math;

/** The textbook's formulas, in another order than the code's. */
const meanOf = (values: number[]) => values.reduce((a, b) => a + b) / values.length;
const deviationOf = (values: number[], over: number) =>
  Math.sqrt((meanOf(values.map((v) => v * v)) - meanOf(values) ** 2) * (values.length / over));

const LOSSES = [2.5, 0.25, 4, 1, -3, 8.5, 0.75, 6];

function expectClose(found: readonly number[], expected: readonly number[]) {
  expect(found).toHaveLength(expected.length);
  expected.forEach((value, d) =>
    expect(Math.abs(found[d] - value)).toBeLessThanOrEqual(2e-7 * Math.abs(value) + 1e-12),
  );
}

function coefficients(options: MethodOptions, losses: readonly number[]) {
  return coefficientsOf(stepOf(options).rule, losses);
}

describe("mezo-sgd", () => {
  it("is g = (loss+ - loss-) / (2 eps) for each direction (arXiv 2305.17333, algorithm 1 and n-SPSA)", () => {
    const options = { name: "mezo-sgd", eps: 1e-2, directions: 4 } as const;
    const { probes } = stepOf(options);
    expect(probes).toEqual([0, 1, 2, 3].flatMap((d) => [probe(d, 1), probe(d, -1)]));
    const expected = [0, 1, 2, 3].map((d) => (LOSSES[2 * d] - LOSSES[2 * d + 1]) / 0.02);
    expect(coefficients(options, LOSSES)).toEqual(expected.map(fround));
  });

  it("reports the loss to both sides, their mean, and its one coefficient as the projected gradient", () => {
    const step = stepOf({ name: "mezo-sgd", eps: 0.25, directions: 1 });
    const losses = [3, 1.5];
    expect(reportOf(step, { losses, coefficients: coefficientsOf(step.rule, losses) })).toEqual({
      ...{ lossPlus: 3, lossMinus: 1.5, loss: 2.25, projectedGradient: 3, coefficients: [3], skipped: false },
    });
  });

  it("reports means over several directions, and the root mean square of their coefficients", () => {
    const step = stepOf({ name: "mezo-sgd", eps: 0.5, directions: 2 });
    const losses = [3, 1, 5, 9];
    expect(reportOf(step, { losses, coefficients: coefficientsOf(step.rule, losses) })).toEqual({
      ...{ lossPlus: 4, lossMinus: 5, loss: 4.5, coefficients: [2, -4], projectedGradient: Math.sqrt(10) },
      skipped: false,
    });
  });
});

describe("fzoo", () => {
  const options = { name: "fzoo", eps: 1e-3, directions: 7 } as const;

  it("is (loss+ - loss) / (eps s), s the deviation of the losses+ with N - 1 (arXiv 2506.09034)", () => {
    expect(stepOf(options).probes).toEqual([AT_WEIGHTS, ...[0, 1, 2, 3, 4, 5, 6].map((d) => probe(d, 1))]);
    const [base, ...plus] = LOSSES;
    const s = deviationOf(plus, 6);
    expectClose(
      coefficients(options, LOSSES),
      plus.map((loss) => (loss - base) / 1e-3 / s),
    );
  });

  it("goes along no direction where none is better than another, and says so", () => {
    const losses = [0.3, ...new Array<number>(7).fill(0.1)];
    const outcome = { losses, coefficients: coefficients(options, losses) };
    expect(outcome.coefficients).toEqual(new Array(7).fill(0));
    expect(reportOf(stepOf(options), outcome)).toMatchObject({ loss: 0.3, lossMinus: Number.NaN, skipped: true });
    expect(reportOf(stepOf(options), outcome).lossPlus).toBeCloseTo(0.1, 15);
    expect(reportOf(stepOf(options), { losses: LOSSES, coefficients: coefficients(options, LOSSES) }).skipped).toBe(
      false,
    );
  });

  it("has no finite coefficient where a loss is none, at the weights or beside them", () => {
    const wrong = [Number.NaN, Number.POSITIVE_INFINITY];
    for (const loss of wrong) {
      expect(coefficients(options, [loss, ...new Array<number>(7).fill(0.1)]).some(Number.isFinite)).toBe(false);
      expect(coefficients(options, [1, 2, 3, loss, 5, 6, 7, 8]).some(Number.isFinite)).toBe(false);
    }
  });
});

describe("es", () => {
  const es = { name: "es", directions: 8, antithetic: false } as const;

  it("z-scores losses with the population's deviation (VsonicV/es-at-scale)", () => {
    const s = deviationOf(LOSSES, 8) + 1e-8;
    const expected = LOSSES.map((loss) => (loss - meanOf(LOSSES)) / s);
    expectClose(coefficients({ ...es, fitness: "zscore" }, LOSSES), expected);
    const equal = new Array<number>(8).fill(0.1);
    expect(coefficients({ ...es, fitness: "zscore" }, equal)).toEqual(new Array(8).fill(0));
  });

  it("ranks losses from -1/2 to 1/2 (arXiv 1703.03864); equal ones share the mean of their ranks", () => {
    const rank = { ...es, fitness: "rank" } as const;
    const sorted = [...LOSSES].sort((a, b) => a - b);
    const expected = LOSSES.map((loss) => fround(sorted.indexOf(loss) / 7 - 0.5));
    expect(coefficients(rank, LOSSES)).toEqual(expected);
    const tied = [1, 5, 1, 5, 5, 9, 0, 1];
    const ranks = [2, 5, 2, 5, 5, 7, 0, 2];
    expect(coefficients(rank, tied)).toEqual(ranks.map((r) => fround(r / 7 - 0.5)));
    // Whatever their order.
    const order = [3, 0, 7, 5, 1, 6, 2, 4];
    expect(
      coefficients(
        rank,
        order.map((i) => tied[i]),
      ),
    ).toEqual(order.map((i) => fround(ranks[i] / 7 - 0.5)));
    for (const loss of [Number.NaN, Number.POSITIVE_INFINITY])
      expect(coefficients(rank, [loss, ...LOSSES.slice(1)]).some(Number.isFinite)).toBe(false);
  });

  it.each(["zscore", "rank"] as const)(
    "takes half the difference of both sides where it is antithetic, by %s",
    (fitness) => {
      const both = { name: "es", directions: 4, antithetic: true, fitness } as const;
      expect(stepOf(both).probes).toEqual([0, 1, 2, 3].flatMap((d) => [probe(d, 1), probe(d, -1)]));
      const alone = stepOf({ ...es, fitness });
      const shaped = coefficientsOf({ ...alone.rule, divisor: 1 }, LOSSES);
      expectClose(
        coefficients(both, LOSSES),
        [0, 1, 2, 3].map((d) => (shaped[2 * d] - shaped[2 * d + 1]) / 2),
      );
    },
  );
});

it("counts the directions of probes, the weights aside", () => {
  expect(directionsOf([AT_WEIGHTS, probe(0, 1), probe(0, -1), probe(3, 1)])).toBe(2);
  expect(directionsOf([AT_WEIGHTS])).toBe(0);
});

it("refuses losses that are not there, and does not take them for 0", () => {
  const rule: CoefficientRule = {
    ...{ shaping: "none", differences: [{ minuend: 0, subtrahend: 1 }], divisor: 1, normalised: false },
  };
  expect(() => coefficientsOf(rule, [2])).toThrow(RangeError);
});
