import { formatCount, formatDuration, formatLoss, formatRate, formatShare } from "../../../src/report/units.js";

test.each([
  [0, "0.00 s"],
  [0.4217, "0.42 s"],
  [9.996, "10.0 s"],
  [12.34, "12.3 s"],
  [59.96, "1 min 00 s"],
  [62, "1 min 02 s"],
  [3599.6, "1 h 00 min"],
  [3720, "1 h 02 min"],
  [86_390, "1 d 00 h"],
  [273_600, "3 d 04 h"],
  [NaN, "-"],
  [Infinity, "-"],
])("%p seconds read as %p", (seconds, text) => {
  expect(formatDuration(seconds)).toBe(text);
});

test("rates, counts, losses and shares read as a person writes them, and a missing one as a dash", () => {
  expect(formatRate(1234.5, "tokens")).toBe("1,235 tokens/s");
  expect(formatRate(0.1234, "steps")).toBe("0.12 steps/s");
  expect(formatRate(NaN, "tokens")).toBe("- tokens/s");
  expect(formatCount(4339712)).toBe("4,339,712");
  expect(formatLoss(0.54638)).toBe("0.5464");
  expect(formatLoss(NaN)).toBe("-");
  expect(formatShare(0.7158)).toBe("71.6 %");
  expect(formatShare(null)).toBe("-");
});
