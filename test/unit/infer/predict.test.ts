/** Predictions from logits that are put in: values of scores, the best answer, and the order of inputs. */
import type { PackedBatch } from "../../../src/data/batch.js";
import { predictInputs, type PredictInput } from "../../../src/infer/predict.js";
import type { HeadSpec } from "../../../src/models/head.js";
import type { Tokenizer } from "../../../src/tokenizer/types.js";
import { failure } from "../checkpoint/support.js";
import { spellingTokenizer } from "../data/support.js";
import { answeringSession } from "./support.js";

const head = (problem: string): HeadSpec =>
  ({ kind: "classification", labels: ["low", "middle", "high"], problem }) as unknown as HeadSpec;
const SPANS: HeadSpec = { kind: "spans" };

const speaking: Tokenizer = {
  ...spellingTokenizer(),
  decode: (ids) => String.fromCharCode(...Array.from(ids)),
};

async function predict(
  inputs: readonly unknown[],
  head: HeadSpec,
  resultOf: (micro: PackedBatch) => Float32Array,
  o: { items?: number; tokens?: number; maxLength?: number; tokenizer?: Tokenizer | null; signal?: AbortSignal } = {},
) {
  const { session, seen } = answeringSession(resultOf);
  const { items = 16, tokens = 1000, maxLength = 100, tokenizer = speaking, signal } = o;
  const settings = { head, limits: { items, tokens }, maxLength, vocabSize: 2000, signal };
  const predictions = [];
  for await (const p of predictInputs(session, tokenizer, inputs as PredictInput[], settings)) predictions.push(p);
  return { predictions, seen };
}

describe("labels", () => {
  const logits = [0.5, -1, 2];
  const constant = ({ headRows }: PackedBatch) => Float32Array.from([...headRows].flatMap(() => logits));
  const total = logits.reduce((sum, x) => sum + Math.exp(x), 0);

  it.each<[string, number[], string | null]>([
    ["single_label_classification", logits.map((x) => Math.exp(x) / total), "high"],
    ["multi_label_classification", logits.map((x) => 1 / (1 + Math.exp(-x))), "high"],
    ["regression", logits, null],
  ])("of a %s have their own kind of scores", async (problem, want, label) => {
    const { predictions } = await predict([{ ids: [1, 2] }], head(problem), constant);
    const [p] = predictions;
    if (p.kind !== "labels") throw new Error(p.kind);
    expect(Object.keys(p.scores)).toEqual(["low", "middle", "high"]);
    Object.values(p.scores).forEach((score, i) => expect(score).toBeCloseTo(want[i], 12));
    expect([...p.logits]).toEqual(logits);
    expect(p.label).toBe(label);
  });

  it("are each text's own, from its last token, in order, however they are grouped", async () => {
    const own = ({ tokens, headRows }: PackedBatch) =>
      Float32Array.from([...headRows].flatMap((row) => [tokens[row], 10, 5]));
    const inputs = [{ text: "ab" }, { ids: [7, 20, 4] }, { ids: [11] }, { text: "c" }];
    const want = [98, 4, 11, 99];
    for (const [o, sizes] of [
      [{}, [4]],
      [{ items: 3 }, [3, 1]],
      [{ tokens: 6 }, [2, 2]],
      [{ tokens: 5 }, [1, 2, 1]],
    ] as const) {
      const { predictions, seen } = await predict(inputs, head("single_label_classification"), own, o);
      expect(predictions.map((p) => (p.kind === "labels" ? p.logits[0] : NaN))).toEqual(want);
      expect(predictions.map((p) => (p.kind === "labels" ? p.label : ""))).toEqual(["low", "middle", "low", "low"]);
      expect(seen.map(({ batch }) => batch[0].sequences.length / 5)).toEqual(sizes);
    }
  });
});

describe("an answer", () => {
  /** Scores of start and end by token. */
  const scored = (starts: Record<number, number>, ends: Record<number, number>) => (micro: PackedBatch) =>
    Float32Array.from([...micro.tokens].flatMap((t) => [starts[t] ?? 0, ends[t] ?? 0]));

  it("is the pair with the highest sum whose end is not before its start", async () => {
    // Alone, 12 is the best start and 10 the best end.
    const resultOf = scored({ 10: 2, 12: 3 }, { 10: 4, 11: 1, 12: 1.5 });
    const { predictions } = await predict([{ ids: [9, 10, 11, 12] }], SPANS, resultOf);
    const p = (own: number, all: number[]) => Math.exp(own) / all.reduce((sum, x) => sum + Math.exp(x), 0);
    expect(predictions[0]).toMatchObject({ kind: "span", start: 1, end: 1 });
    if (predictions[0].kind !== "span") throw new Error();
    expect(predictions[0].score).toBeCloseTo(p(2, [0, 2, 0, 3]) * p(4, [0, 4, 1, 1.5]), 12);
  });

  it("is text of its own tokens, the last included, in each text of a group", async () => {
    const resultOf = scored({ 98: 5 }, { 100: 5 });
    const inputs = [{ ids: [97, 98, 99, 100] }, { question: "z", context: "yabcd" }, { ids: [98, 100] }];
    const { predictions } = await predict(inputs, SPANS, resultOf);
    expect(predictions).toMatchObject([
      { start: 1, end: 3, text: "bcd" },
      { start: 5, end: 7, text: "bcd" },
      { start: 0, end: 1, text: "bd" },
    ]);
    const silent = await predict([{ ids: [98, 100] }], SPANS, resultOf, { tokenizer: null });
    expect(silent.predictions).toMatchObject([{ text: null }]);
  });

  it("has 64 tokens at most", async () => {
    const ids = (length: number) => [7, ...new Array<number>(length - 2).fill(1), 8];
    const resultOf = scored({ 7: 9 }, { 8: 9 });
    expect((await predict([{ ids: ids(64) }], SPANS, resultOf)).predictions).toMatchObject([{ start: 0, end: 63 }]);
    const { predictions } = await predict([{ ids: ids(65) }], SPANS, resultOf);
    expect(predictions).not.toMatchObject([{ start: 0, end: 64 }]);
  });
});

describe("what cannot be predicted", () => {
  const nothing = () => new Float32Array();

  it("comes after what was before it", async () => {
    const { session } = answeringSession(({ headRows }) => new Float32Array(3 * headRows.length));
    const settings = { head: head("regression"), limits: { items: 16, tokens: 100 }, maxLength: 3, vocabSize: 2000 };
    let count = 0;
    const run = (async () => {
      for await (const _ of predictInputs(session, speaking, [{ ids: [1] }, { ids: [1, 2, 3, 4] }], settings)) count++;
    })();
    await expect(run).rejects.toThrow(failure("ZO2_ERR_LENGTH", "inputs[1]: 4 tokens, and the limit is 3"));
    expect(count).toBe(1);
  });

  it("is a language model's, what is no text, and what was stopped", async () => {
    await expect(predict([{ ids: [1] }], { kind: "causal" }, nothing)).rejects.toThrow(
      failure("ZO2_ERR_MODEL_UNSUPPORTED", "the model predicts tokens"),
    );
    await expect(predict([{ label: 1 }], head("regression"), nothing)).rejects.toMatchObject({ code: "ZO2_ERR_DATA" });
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(predict([{ ids: [1] }], SPANS, nothing, { signal })).rejects.toMatchObject({
      ...{ code: "ZO2_ERR_ABORTED", message: "predicting was stopped after 0 inputs", cause: signal.reason },
    });
  });
});
