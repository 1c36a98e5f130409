import { count, number, percent, percentTick, tickText } from "../../../src/page/browser/format.js";
import { dashOf, colourOf, faint } from "../../../src/page/browser/palette.js";

test("numbers have the digits that tell them apart", () => {
  expect([0.41234567, 12345.678, 2.5e-5, 0, -3, 1e8].map((value) => number(value))).toEqual([
    ...["0.4123", "12,346", "2.5e-5", "0", "-3", "1e8"],
  ]);
  expect([count(20_000), percent(0.7161)]).toEqual(["20,000", "71.6 %"]);
});

test("ticks have as many digits as their distance needs", () => {
  const ticks = (...values: number[]) => values.map((value) => tickText(value, values[1]! - values[0]!));
  expect(ticks(1, 1.25, 1.5)).toEqual(["1.00", "1.25", "1.50"]);
  expect(ticks(0.2, 0.4, 0.6)).toEqual(["0.2", "0.4", "0.6"]);
  expect(ticks(0, 5000, 10_000)).toEqual(["0", "5,000", "10,000"]);
  expect(ticks(0, 2.5e-5, 5e-5, 1e-4)).toEqual(["0", "2.5e-5", "5e-5", "1e-4"]);
  expect(percentTick(0.725, 0.025)).toBe("72.5 %");
  expect(percentTick(0.7, 0.1)).toBe("70 %");
});

test("runs that share a colour have different dashes, and the first is drawn through", () => {
  expect(dashOf(0)).toEqual([]);
  expect(colourOf(8, "light")).toBe(colourOf(0, "light"));
  expect(dashOf(8)).not.toEqual(dashOf(0));
  expect(faint("#102030", 0.5)).toBe("#10203080");
});
