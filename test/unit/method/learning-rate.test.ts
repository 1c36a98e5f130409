import { learningRateAt } from "../../../src/method/learning-rate.js";
import { readFileSync } from "node:fs";
import { join } from "node:path";

it("linear: the rates are those that the original code's scheduler gave", () => {
  const { cases } = JSON.parse(readFileSync(join(__dirname, "../../fixtures/trajectories/mezo-ones-A.json"), "utf8"));
  const linear = cases.filter((c: { schedule: string }) => c.schedule === "linear");
  expect(linear.length).toBe(2);
  for (const c of linear) {
    c.steps.forEach((s: { lr: number }, i: number) =>
      expect(learningRateAt(c.lr, { name: "linear", warmupSteps: 0 }, i, 20)).toBeCloseTo(s.lr, 15),
    );
  }
});

it("constant: stays", () => {
  expect([0, 7, 99].map((s) => learningRateAt(0.5, { name: "constant", warmupSteps: 0 }, s, 100))).toEqual([
    0.5, 0.5, 0.5,
  ]);
});

it("cosine: starts at the rate, is half of it midway and ends at 0", () => {
  const at = (step: number) => learningRateAt(2, { name: "cosine", warmupSteps: 0 }, step, 100);
  expect([at(0), at(50), at(100)].map((x) => x.toFixed(12))).toEqual([
    "2.000000000000",
    "1.000000000000",
    "0.000000000000",
  ]);
  expect(at(25)).toBeCloseTo(2 * 0.5 * (1 + Math.SQRT1_2), 12);
});

it.each(["constant", "linear", "cosine"] as const)(
  "%s with a warm-up rises from 0 in equal parts and then goes on from the full rate",
  (name) => {
    const at = (step: number) => learningRateAt(1, { name, warmupSteps: 4 }, step, 24);
    expect([0, 1, 2, 3, 4].map(at)).toEqual([0, 0.25, 0.5, 0.75, 1]);
    if (name === "linear") expect(at(14)).toBeCloseTo(0.5, 12);
  },
);
