import { nearestName } from "../../../src/base/nearest.js";

const known = ["learningRate", "batchSize", "microBatchSize", "eps", "seed", "steps", "weightDecay"];

test.each([
  ["lerningRate", "learningRate"],
  ["learning-rate", "learningRate"],
  ["LEARNING_RATE", "learningRate"],
  ["bathcSize", "batchSize"],
  ["step", "steps"],
  ["sede", "seed"],
  ["wightDecay", "weightDecay"],
  ["esp", "eps"],
])("%p was probably meant as %p", (given, name) => {
  expect(nearestName(given, known)).toBe(name);
});

test.each(["banana", "model", "x", "", "rate"])("%p resembles nothing", (given) => {
  expect(nearestName(given, known)).toBeUndefined();
});
