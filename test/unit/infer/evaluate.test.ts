/** Loss and accuracy of a data set from what passes leave behind, against sums by hand. */
import type { ExampleOptions } from "../../../src/data/index.js";
import type { PackedBatch } from "../../../src/data/batch.js";
import { EncodedSource } from "../../../src/infer/encoded-source.js";
import { evaluateSource } from "../../../src/infer/evaluate.js";
import type { HeadSpec } from "../../../src/models/head.js";
import { failure } from "../checkpoint/support.js";
import { spellingTokenizer } from "../data/support.js";
import { answeringSession, targetsOf } from "./support.js";

const CAUSAL: HeadSpec = { kind: "causal" };
const head = (problem: string): HeadSpec =>
  ({ kind: "classification", labels: ["a", "b", "c"], problem }) as unknown as HeadSpec;

/** A token's log-probability is -id / 8, wherever it stands. */
const byId = (micro: PackedBatch) => Float32Array.from(targetsOf(micro), ({ id }) => -id / 8);

async function evaluate(
  examples: object[],
  resultOf: (micro: PackedBatch) => Float32Array,
  o: { readonly head?: HeadSpec; readonly reduction?: "mean" | "sum"; readonly batchSize?: number } & {
    readonly items?: number;
    readonly tokens?: number;
    readonly signal?: AbortSignal;
    readonly maxLength?: number;
    readonly truncation?: "left" | "right" | "error";
    readonly template?: ExampleOptions["template"];
  } = {},
) {
  const { session, seen } = answeringSession(resultOf);
  const { head = CAUSAL, reduction = "mean", batchSize = 16, items = batchSize, tokens = 1000, signal } = o;
  const { maxLength = 50, truncation = "error", template } = o;
  const encoding = { vocabSize: 2000, head, template, maxLength, truncation, reduction };
  await using source = await EncodedSource.open(spellingTokenizer(), examples, { encoding, checkData: false });
  const result = await evaluateSource(
    session,
    head,
    source,
    { batchSize, reduction, limits: { items, tokens } },
    signal,
  );
  return { ...result, seen };
}

describe("texts", () => {
  const texts = [{ ids: [1, 2, 3] }, { ids: [9, 8] }, { ids: [4, 5, 6, 7] }, { ids: [7, 16] }, { ids: [3, 3, 3] }];
  const sum = (2 + 3 + 8 + 5 + 6 + 7 + 16 + 3 + 3) / 8;

  it.each([
    [{}, [5]],
    [{ batchSize: 2 }, [2, 2, 1]],
    [{ batchSize: 3, items: 2 }, [2, 1, 2]],
    [{ batchSize: 5, tokens: 5 }, [2, 1, 2]],
    [{ batchSize: 5, tokens: 6 }, [2, 2, 1]],
  ])("have the mean over all their tokens, and no accuracy, however they are cut (%j)", async (o, sizes) => {
    const { seen, seconds, ...result } = await evaluate(texts, byId, o);
    expect(result).toEqual({ loss: sum / 9, accuracy: null, examples: 5, labelled: 9, tokens: 9 });
    expect(seconds).toBeGreaterThanOrEqual(0);
    expect(seen.flatMap(({ batch }) => batch.map(({ sequences }) => sequences.length / 5))).toEqual(sizes);
    expect(seen.every(({ output }) => output === undefined)).toBe(true);
  });

  it("are cut and refused as they are told to be", async () => {
    const cut = await evaluate([{ text: "abcdef" }], byId, { maxLength: 4, truncation: "left" });
    const tail = [..."def"].reduce((total, c) => total + c.charCodeAt(0), 0);
    expect([cut.loss, cut.labelled]).toEqual([tail / 8 / 3, 3]);
    await expect(evaluate([{ text: "abcdef" }], byId, { maxLength: 4 })).rejects.toThrow(
      failure("ZO2_ERR_LENGTH", "7 tokens, and the limit is 4"),
    );
  });

  it("stop between batches when they are told to, and say how far they came", async () => {
    const abort = new AbortController();
    const reason = new Error("enough");
    const stopping = (micro: PackedBatch) => {
      abort.abort(reason);
      return byId(micro);
    };
    const run = evaluate(texts, stopping, { batchSize: 2, signal: abort.signal });
    await expect(run).rejects.toThrow(failure("ZO2_ERR_ABORTED", "stopped after 2 of 5 examples"));
    await expect(run).rejects.toMatchObject({ cause: reason });
  });
});

describe("choices", () => {
  // The second choice has the lower mean, and the higher sum.
  const examples = [
    { prompt: "p", choices: ["\u0010\u0010\u0010", "\u0018"], label: 1 },
    { prompt: "q", choices: ["\u0010\u0010\u0010", "\u0018"], label: 0 },
    { prompt: "r", choices: ["\u0018", "\u0010\u0010\u0010", "\u0020"], label: 0 },
  ];
  const crossEntropy = (scores: number[], label: number) =>
    Math.log(scores.reduce((total, s) => total + Math.exp(s), 0)) - scores[label];
  const want = {
    mean: [
      [[-2, -3], 1],
      [[-2, -3], 0],
      [[-3, -2, -4], 0],
    ],
    sum: [
      [[-6, -3], 1],
      [[-6, -3], 0],
      [[-3, -6, -4], 0],
    ],
  } as const;

  it.each([
    ["mean", 1 / 3],
    ["sum", 2 / 3],
  ] as const)("by their %s: the loss over their scores, and how many are right", async (reduction, accuracy) => {
    for (const o of [{}, { batchSize: 1 }, { items: 2 }, { tokens: 9 }]) {
      const result = await evaluate(examples, byId, { reduction, ...o });
      const losses = want[reduction].map(([scores, label]) => crossEntropy([...scores], label));
      expect(result.loss).toBeCloseTo(losses.reduce((a, b) => a + b, 0) / 3, 6);
      expect(result).toMatchObject({ accuracy, examples: 3, labelled: 3 });
    }
  });

  it("come from a template as well", async () => {
    const template = { prompt: "{t}", choices: ["\u0010\u0010\u0010", "\u0018"], labelField: "gold" };
    const lines = [{ t: "p", gold: 1 }];
    expect((await evaluate(lines, byId, { template, reduction: "sum" })).accuracy).toBe(1);
    expect((await evaluate(lines, byId, { template, reduction: "mean" })).accuracy).toBe(0);
  });
});

describe("labels", () => {
  /** Scores of three labels by the last token of each text. */
  const rows = (table: Record<number, number[]>) => (micro: PackedBatch) =>
    Float32Array.from([...micro.headRows].flatMap((row) => table[micro.tokens[row]]));
  const table = { 1: [2, 0, -1], 2: [0, 1, 3], 3: [-1, 0.5, 0.25] };
  const lines = (labels: unknown[]) => labels.map((label, i) => ({ ids: [9, i + 1], label }));

  it("of one class: cross entropy, and the share of classes found", async () => {
    const result = await evaluate(lines([0, 1, 1]), rows(table), { head: head("single_label_classification") });
    const entropies = [
      [table[1], 0],
      [table[2], 1],
      [table[3], 1],
    ].map(
      ([row, y]) => Math.log((row as number[]).reduce((t, x) => t + Math.exp(x), 0)) - (row as number[])[y as number],
    );
    expect(result.loss).toBeCloseTo(entropies.reduce((a, b) => a + b, 0) / 3, 6);
    expect(result).toMatchObject({ accuracy: 2 / 3, examples: 3, labelled: 3, tokens: 6 });
    expect(result.seen.map(({ output }) => output)).toEqual(["logits"]);
  });

  it("several at once: binary cross entropy of each, and the share of flags found", async () => {
    const flags = [
      [1, 0, 0],
      [0, 0, 1],
      [0, 0, 0],
    ];
    const result = await evaluate(lines(flags), rows(table), { head: head("multi_label_classification") });
    const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
    const entropies = Object.values(table).flatMap((row, r) =>
      row.map((x, c) => -Math.log(flags[r][c] === 1 ? sigmoid(x) : 1 - sigmoid(x))),
    );
    expect(result.loss).toBeCloseTo(entropies.reduce((a, b) => a + b, 0) / 9, 6);
    // Wrong are 1 and 3: a score of 1 in the second text, and those of 0.5 and 0.25 in the third.
    expect(result).toMatchObject({ accuracy: 6 / 9, labelled: 9 });
  });

  it("values: the mean squared error, which has no right and wrong", async () => {
    const values = [
      [2, 1, -1],
      [0, 0, 0],
      [-1, 0.5, 0.25],
    ];
    const result = await evaluate(lines(values), rows(table), { head: head("regression") });
    expect(result).toMatchObject({ loss: (1 + 1 + 9) / 9, accuracy: null, labelled: 9 });
  });
});

it("answers: half the cross entropy of each end, right where both ends are", async () => {
  const spans = [
    { ids: [5, 6, 7], start: 1, end: 2 },
    { ids: [5, 6, 7], start: 1, end: 1 },
  ];
  // The start is called at 6 and the end at 7.
  const logits = ({ tokens }: PackedBatch) => Float32Array.from([...tokens].flatMap((t) => [t === 6 ? 2 : 0, t - 5]));
  const result = await evaluate(spans, logits, { head: { kind: "spans" } });
  const start = Math.log(2 + Math.exp(2)) - 2;
  const end = (y: number) => Math.log(1 + Math.E + Math.exp(2)) - y;
  expect(result.loss).toBeCloseTo((start / 2 + end(2) / 2 + start / 2 + end(1) / 2) / 2, 6);
  expect(result).toMatchObject({ accuracy: 0.5, examples: 2, labelled: 2 });
});
