import { addChange, changeOf } from "../../../../src/adapters/peft/fold.js";
import type { LinearLayer } from "../../../../src/adapters/lora.js";

const layer = (transposed: boolean) => ({ module: "m", inputs: 3, outputs: 2, transposed }) as unknown as LinearLayer;
const A = Float32Array.of(1, 2, 3, 4, 5, 6);
const B = Float32Array.of(1, 0, 10, 100);

it("B A lies as the weight does, also where that is transposed", () => {
  const shape = { rank: 2, scale: 0.5 };
  const straight = new Float32Array(6);
  addChange(straight, 0, 3, changeOf(layer(false), shape, { a: A, b: B }), true);
  expect([...straight]).toEqual([0.5, 1, 1.5, 205, 260, 315]);
  const transposed = new Float32Array(6);
  addChange(transposed, 0, 2, changeOf(layer(true), shape, { a: A, b: B }), true);
  expect([...transposed]).toEqual([0.5, 205, 1, 260, 1.5, 315]);
  // Some rows of it.
  const last = new Float32Array(2);
  addChange(last, 2, 2, changeOf(layer(true), shape, { a: A, b: B }), true);
  expect([...last]).toEqual([1.5, 315]);
});

it.each([1, -1])("a sum that is rounded again is never rounded twice (sign %d)", (sign) => {
  const sumOf = (weight: number, added: number, isExact: boolean) => {
    const rows = Float32Array.of(sign * weight);
    const change = { rank: 1, scale: sign, left: Float32Array.of(added), right: Float32Array.of(1) };
    addChange(rows, 0, 1, change, isExact);
    return sign * (rows[0] ?? 0);
  };
  const half = 2 ** -8; // between two numbers of bf16 at 1
  const ulp = 2 ** -23;
  // Its nearest fp32 is the middle itself, from where bf16 would go down.
  expect(sumOf(1, half + 2 ** -30, true)).toBe(1 + half);
  expect(sumOf(1 + half, 2 ** -40, false)).toBe(1 + half + ulp);
  expect(sumOf(1 + half + 2 * ulp, -(2 ** -40), false)).toBe(1 + half + ulp);
  // The middle stays the middle.
  expect(sumOf(1, half, false)).toBe(1 + half);
  expect(sumOf(0, 0, false)).toBe(0);
  // Too large for fp32: the largest there is, from where a narrower dtype decides.
  expect(sumOf(3.4e38, 1e38, false)).toBe((2 - 2 ** -23) * 2 ** 127);
  expect(sumOf(3.4e38, 1e38, true)).toBe(Infinity);
});
