import { lineOf, MAX_POINTS } from "../../../src/page/lines.js";
import { binsOf, sharesOf } from "../../../src/page/histogram.js";
import { ratio, smoothed, spanFor } from "../../../src/page/smoothing.js";

describe("smoothing", () => {
  test("is the mean with weights that fall by 1 - 2 / (span + 1) a step", () => {
    const values = [4, 8, 2, 6];
    const keep = 1 - 2 / (3 + 1);
    const direct = values.map((_, k) => {
      const weights = values.slice(0, k + 1).map((_value, i) => keep ** (k - i));
      const sum = weights.reduce((a, w, i) => a + w * values[i]!, 0);
      return sum / weights.reduce((a, w) => a + w, 0);
    });
    smoothed(values, 3).forEach((value, k) => expect(value).toBeCloseTo(direct[k]!, 12));
  });

  test("begins with the first value and keeps what does not change", () => {
    expect(smoothed([7, 7, 7], 50)).toEqual([7, 7, 7]);
    expect(smoothed([], 10)).toEqual([]);
  });

  test("passes over what is not finite, and has nothing before the first value", () => {
    expect(smoothed([NaN, 3, Infinity, 3], 10)).toEqual([NaN, 3, 3, 3]);
  });

  test("weighs a rate by what its steps took", () => {
    const parts = [
      { over: 100, under: 1 },
      { over: 100, under: 9 },
    ];
    expect(ratio(parts, 1e9)[1]).toBeCloseTo(20, 3);
  });

  test("takes a twentieth of the steps, between 10 and 500", () => {
    expect([0, 1, 100, 400, 20_000].map(spanFor)).toEqual([10, 10, 10, 20, 500]);
  });
});

describe("a line", () => {
  test("has five digits, and null for what is not finite", () => {
    expect(lineOf([0.123456789, NaN, 123456.7, 1e-7])).toEqual({
      ...{ steps: null, values: [0.12346, null, 123460, 1e-7] },
    });
  });

  test("of more values than are kept still has its peaks, where they stood", () => {
    const values = Array.from({ length: 5 * MAX_POINTS }, (_, k) => Math.sin(k));
    values[77_777] = 50;
    values[3] = -50;
    const line = lineOf(values);
    expect(line.values.length).toBeLessThanOrEqual(MAX_POINTS);
    expect(line.values[line.steps!.indexOf(77_777)]).toBe(50);
    expect(line.values[line.steps!.indexOf(3)]).toBe(-50);
    expect(line.steps).toEqual([...line.steps!].sort((a, b) => a - b));
  });

  test("keeps the steps that it was given", () => {
    const { steps } = lineOf([1, 2, 3, 4, 5, 6], [10, 20, 30, 40, 50, 60], 4);
    expect(steps).toEqual([10, 30, 40, 60]);
  });
});

describe("a histogram", () => {
  test("counts every value once, the greatest in the last bin", () => {
    const values = Array.from({ length: 1000 }, (_, k) => k);
    const bins = binsOf(values);
    expect([bins[0], bins.at(-1)]).toEqual([0, 999]);
    const shares = sharesOf(values, bins);
    expect(shares).toHaveLength(bins.length - 1);
    expect(shares.reduce((a, b) => a + b, 0)).toBeCloseTo(100, 9);
    expect(Math.max(...shares) / Math.min(...shares)).toBeLessThan(1.1);
  });

  test("has bins around values that are all the same, and none without values", () => {
    for (const value of [0, 3, -2]) {
      const bins = binsOf([value, value]);
      expect(bins[0]).toBeLessThan(value);
      expect(bins.at(-1)).toBeGreaterThan(value);
      expect(Math.max(...sharesOf([value, value], bins))).toBe(100);
    }
    expect(binsOf([NaN])).toEqual([]);
    expect(sharesOf([1], [])).toEqual([]);
  });

  test("has not more bins than can be seen, whatever lies far off", () => {
    expect(binsOf([...Array.from({ length: 1000 }, (_, k) => k / 1000), 1e9]).length).toBeLessThanOrEqual(81);
  });
});
