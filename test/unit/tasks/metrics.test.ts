import { exactMatch, f1, normalizedAnswer } from "../../../src/tasks/metrics.js";

test.each([
  ["The  Cat, sat!", "cat sat"],
  ["an apple a day", "apple day"],
  ["U.S.", "us"],
  ["theatre of the absurd", "theatre of absurd"],
  ["naïa a", "naïa"],
  [" \u00a0", ""],
])("%j is compared as %j", (text, normalized) => expect(normalizedAnswer(text)).toBe(normalized));

test.each([
  ["the north", ["north"], 1, true],
  ["to the north", ["north"], 2 / 3, false],
  ["north north", ["north"], 2 / 3, false],
  ["north", ["south", "far north"], 2 / 3, false],
  ["east", ["north"], 0, false],
  ["", ["north"], 0, false],
  ["1815.", ["in 1815", "1815"], 1, true],
  ["No answer", ["no answer"], 1, true],
  ["no", ["no answer"], 0, false],
  ["cannotanswer", ["CANNOTANSWER"], 1, true],
])("%j against %j has F1 %d", (prediction, answers, score, exact) => {
  expect(f1(prediction, answers)).toBeCloseTo(score, 12);
  expect(exactMatch(prediction, answers)).toBe(exact);
});
