import { readFileSync } from "node:fs";
import { join } from "node:path";
import { NumpyRandom } from "../../../src/tasks/numpy-random.js";

function fixture<Row>(name: string): Row[] {
  const text = readFileSync(join(__dirname, "../../fixtures/numpy", `${name}.json`), "utf8");
  return (JSON.parse(text) as { rows: Row[] }).rows;
}

interface Permutation {
  seed: number;
  n: number;
  first: number[];
  last: number[];
  sum_i_times_p: number;
}

test.each(fixture<Permutation>("permutation"))("permutation($n) after seed($seed) is NumPy's", (row) => {
  const order = new NumpyRandom(row.seed).permutation(row.n);
  expect(Array.from(order.subarray(0, row.first.length))).toEqual(row.first);
  expect(Array.from(order.subarray(row.n - row.last.length))).toEqual(row.last);
  expect(order.reduce((sum, p, i) => sum + i * p, 0)).toBe(row.sum_i_times_p);
});

test.each(fixture<{ seed: number; below: number; values: number[] }>("randint"))(
  "randint(0, $below) after seed($seed) is NumPy's",
  ({ seed, below, values }) => expect(new NumpyRandom(seed).integers(below, values.length)).toEqual(values),
);
