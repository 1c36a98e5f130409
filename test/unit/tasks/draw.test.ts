import { readFileSync } from "node:fs";
import { join } from "node:path";
import { demonstrationSeeds, drawTraining, firstOf } from "../../../src/tasks/draw.js";
import { failure } from "../checkpoint/support.js";

const read = (name: string) =>
  (JSON.parse(readFileSync(join(__dirname, "../../fixtures/numpy", `${name}.json`), "utf8")) as { rows: Row[] }).rows;
interface Row {
  seed: number;
  n: number;
  below: number;
  first: number[];
  last: number[];
  values: number[];
}
const permuted = (seed: number, n: number) => read("permutation").find((row) => row.seed === seed && row.n === n)!;

// [rows of the split, asked dev, left to train on by the original, by default]
test.each([
  ["WSC", 554, 500, 54, 370],
  ["CB", 250, 100, 150, 167],
  ["Copa", 400, 100, 300, 300],
  ["SST2", 67349, 500, 1000, 1000],
])("%s of %i rows", (_, rows, dev, faithful, right) => {
  const { first, last } = permuted(0, rows);
  const whole = Math.min(rows, 1000 + dev);
  const original = drawTraining(rows, { train: 1000, dev }, 0, true);
  expect(original.train).toHaveLength(faithful);
  expect(original.dev).toHaveLength(whole - faithful);
  const fixed = drawTraining(rows, { train: 1000, dev }, 0, false);
  expect(fixed.train).toHaveLength(right);
  for (const drawn of [original, fixed]) {
    expect(drawn.train.slice(0, 40)).toEqual(first.slice(0, 40));
    // Dev is the last of the same draw; where the draw is the whole split, of NumPy's permutation.
    if (whole === rows) expect(drawn.dev.slice(-10)).toEqual(last);
    expect(new Set([...drawn.train, ...drawn.dev]).size).toBe(whole);
  }
});

test("a draw that leaves nothing to train on is refused", () => {
  expect(() => drawTraining(500, { train: 1000, dev: 500 }, 0, true)).toThrow(failure("ZO2_ERR_DATA", "500 rows"));
  expect(drawTraining(3, { train: 1000, dev: 500 }, 0, false).train).toHaveLength(2);
});

test("evaluated examples and the seeds of demonstrations are NumPy's", () => {
  expect(firstOf(872, 40, 0)).toEqual(permuted(0, 872).first);
  expect(firstOf(10, 1000, 0)).toEqual(permuted(0, 10).first);
  expect(demonstrationSeeds(1000)).toEqual(read("randint").find(({ values }) => values.length === 1000)?.values);
});
