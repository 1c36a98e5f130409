import { type Rate, secondsAt } from "../../../src/simulate/rate.js";

/** Reading a matrix takes as long as 50 rows of it: so many rows a second. */
const rateAt = (rows: number) => 1e9 * (rows / (rows + 50));
const rate: Rate = [8, 32, 128, 512].map((rows) => [rows, rateAt(rows)] as const);

test("one figure is for every size", () => {
  for (const size of [1, 7, 1e6]) expect(secondsAt(2e9, size, 4e9)).toBe(2);
});

test("an effort that is the same for every size is met between those that were measured, and below them", () => {
  for (const rows of [1, 8, 9, 20, 32, 100, 128, 511, 512])
    expect(secondsAt(rate, rows, 1e9)).toBeCloseTo(1e9 / rateAt(rows), 9);
});

test("beyond the largest the rate stays", () => {
  expect(secondsAt(rate, 4096, 1e9)).toBeCloseTo(1e9 / rateAt(512), 12);
});

test("more of a size never takes less, whatever was measured", () => {
  const odd: Rate = [
    [4, 9e9],
    [16, 1e9],
    [64, 3e9],
  ];
  const seconds = [0.5, 1, 2, 4].map((rows) => secondsAt(odd, rows, rows));
  for (const [i, longer] of seconds.entries()) expect(seconds[i + 1] ?? Infinity).toBeGreaterThanOrEqual(longer);
  expect(secondsAt([[4, 2]], 1, 8)).toBeCloseTo(4, 12);
});

test("what computes nothing takes no time", () => {
  expect(secondsAt([[4, 2]], 1, 0)).toBe(0);
  expect(secondsAt(Number.POSITIVE_INFINITY, 1, 0)).toBe(0);
});
