import { packBatch } from "../../../src/data/batch.js";
import type { EncodedExample } from "../../../src/data/encoded.js";
import { batchLoss, choiceScores, tokenLoss } from "../../../src/data/token-loss.js";
import { failure } from "../checkpoint/support.js";

const choices = (label: number, ...ids: number[][]): EncodedExample => ({
  kind: "choices",
  label,
  choices: ids.map((list) => ({ ids: Int32Array.from(list), from: 1 })),
});
const examples = [choices(1, [9, 1, 2], [9, 3]), choices(0, [9, 4], [9, 5, 6], [9, 7])];
// In batch order: the choices' tokens are 2, 1, then 1, 2, 1.
const logprobs = Float32Array.of(-1, -3, -1.5, -0.5, -0.25, -0.25, -8);

describe("the objective of choices", () => {
  test("takes the mean of each choice's log-probabilities, the best choice, and the label's cross entropy", () => {
    const { scores, predictions, losses } = choiceScores(packBatch(examples), logprobs);
    expect(scores.map((row) => [...row])).toEqual([
      [-2, -1.5],
      [-0.5, -0.25, -8],
    ]);
    expect(predictions).toEqual([1, 1]);
    const softmax = (row: number[], label: number) =>
      -Math.log(Math.exp(row[label]!) / row.reduce((sum, score) => sum + Math.exp(score), 0));
    expect(losses[0]).toBeCloseTo(softmax([-2, -1.5], 1), 14);
    expect(losses[1]).toBeCloseTo(softmax([-0.5, -0.25, -8], 0), 14);
    expect(batchLoss(packBatch(examples), logprobs)).toEqual({ sum: losses[0]! + losses[1]!, count: 2 });
  });

  test("takes the sum on request, which may choose otherwise", () => {
    const { scores, predictions } = choiceScores(packBatch(examples, { reduction: "sum" }), logprobs);
    expect(scores.map((row) => [...row])).toEqual([
      [-4, -1.5],
      [-0.5, -0.5, -8],
    ]);
    expect(predictions).toEqual([1, 0]);
  });

  test("does not overflow for scores far below zero", () => {
    const batch = packBatch([choices(0, [9, 1], [9, 2])]);
    expect(choiceScores(batch, Float32Array.of(-2000, -2000)).losses[0]).toBeCloseTo(Math.log(2), 12);
    expect(choiceScores(batch, Float32Array.of(-2000, 0)).losses[0]).toBeCloseTo(2000, 9);
  });

  test("passes on what is not a number", () => {
    const batch = packBatch([choices(0, [9, 1], [9, 2])]);
    expect(choiceScores(batch, Float32Array.of(-1, Number.NaN)).losses[0]).toBeNaN();
  });
});

describe("the objective of tokens", () => {
  const batch = packBatch([
    { kind: "tokens", ids: Int32Array.of(1, 2, 3, 4), labels: Int32Array.of(-100, 2, -100, 4) },
  ]);

  test("is the sum of negative log-probabilities in fp64, with what it is to be divided by", () => {
    expect(tokenLoss(batch, Float32Array.of(-0.1, -(2 ** 24)))).toEqual({ sum: Math.fround(0.1) + 2 ** 24, count: 2 });
    expect(batchLoss(batch, Float32Array.of(-1, -2))).toEqual({ sum: 3, count: 2 });
  });

  test("refuses log-probabilities of another batch or kind", () => {
    expect(() => tokenLoss(batch, new Float32Array(3))).toThrow(
      failure("ZO2_ERR_INVALID_ARGUMENT", "3 log-probabilities for a batch of 2 targets"),
    );
    expect(() => choiceScores(batch, new Float32Array(2))).toThrow(failure("ZO2_ERR_INVALID_ARGUMENT", "no choices"));
    expect(() => tokenLoss(packBatch(examples), logprobs)).toThrow(failure("ZO2_ERR_INVALID_ARGUMENT", "has choices"));
  });
});
