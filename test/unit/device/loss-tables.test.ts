/** What a loss on the device is told of a micro-batch, beside what packing it has put into its tables. */
import { LOSS } from "../../../src/contract/constants.js";
import { packBatch, packPositions, type EncodedExample } from "../../../src/data/index.js";
import { lossTables } from "../../../src/device/loss-tables.js";
import type { Span } from "../../../src/device/words.js";
import { objectiveTables } from "../../../src/memory/batch-tables.js";

const at = { buffer: null, offset: 4096 } as unknown as Span;
const none = { labels: null, choices: null, choiceCount: 0, examples: null, exampleCount: 0 };
const ids = Int32Array.of(5, 6, 7, 8);

const choice = (tail: number[]) => ({ ids: Int32Array.from([5, 6, ...tail]), from: 2 });
const choices: EncodedExample[] = [
  { kind: "choices", choices: [choice([7]), choice([8, 9])], label: 1 },
  { kind: "choices", choices: [choice([7]), choice([8, 9]), choice([10])], label: 0 },
];

it.each(["mean", "sum"] as const)("choices by their %s: five choices, and two examples behind them", (reduction) => {
  const batch = packBatch(choices, { reduction });
  expect(lossTables(batch, at)).toEqual({
    ...{ kind: reduction === "mean" ? LOSS.choicesMean : LOSS.choicesSum, targets: 7, labels: null },
    ...{ choices: at, choiceCount: 5, examples: { buffer: null, offset: 4096 + 5 * 2 * 4 }, exampleCount: 2 },
  });
  // The tables lie one behind the other: where the second begins is what the first takes.
  expect(objectiveTables(batch).map(({ byteLength }) => byteLength)).toEqual([5 * 2 * 4, 2 * 3 * 4]);
});

it("tokens, and logits alone, have targets and nothing else", () => {
  const tokens = packBatch([{ kind: "tokens", ids, labels: Int32Array.of(-100, 6, -100, 8) }]);
  const logits = packPositions([{ ids, positions: [3] }]);
  expect(lossTables(tokens, at)).toEqual({ ...none, kind: LOSS.tokens, targets: 2 });
  expect(lossTables(logits, at)).toEqual({ ...none, kind: LOSS.tokens, targets: 0 });
  expect([tokens, logits].map(objectiveTables)).toEqual([[], []]);
});

it.each([
  ["single_label_classification", [2], { ...none, kind: LOSS.tokens, targets: 2 }],
  ["multi_label_classification", [0, 1, 1], { ...none, kind: LOSS.binary, targets: 6, labels: at }],
  ["regression", [0.5, 1, -2], { ...none, kind: LOSS.squared, targets: 6, labels: at }],
] as const)("labels of a %s", (problem, labels, want) => {
  const example: EncodedExample = { kind: "labelled", ids, labels, problem };
  const batch = packBatch([example, example]);
  expect(lossTables(batch, at)).toEqual(want);
  // As the words of fp32 numbers.
  const words = new Int32Array(Float32Array.from([...labels, ...labels]).buffer);
  expect(objectiveTables(batch)).toEqual(want.labels === null ? [] : [words]);
});

it("answers have a start and an end for every row, and a table of their own", () => {
  const example: EncodedExample = { kind: "span", ids, start: 1, end: 2 };
  const batch = packBatch([example, { ...example, ids: ids.subarray(0, 3) }]);
  expect(lossTables(batch, at)).toEqual({ ...none, kind: LOSS.spans, targets: 14, examples: at, exampleCount: 2 });
  expect(objectiveTables(batch)).toEqual([Int32Array.of(0, 4, 1, 2, 4, 7, 1, 2)]);
});
