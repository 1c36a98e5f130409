import path from "node:path";
import { batchLoss, logitLoss, packBatch, type EncodedExample, type PackedBatch } from "../../../src/data/index.js";
import { labelledCount } from "../../../src/data/batch.js";
import type { Problem } from "../../../src/models/head.js";
import { fixtures, readJson, readTensors, sessionOf, takeStep, takeSteps, withModel } from "./helpers.js";

const STEP = { seed: 5n, eps: 1e-3, learningRate: 1e-4, weightDecay: 0, noise: "gaussian" } as const;

type Tensors = Awaited<ReturnType<typeof readTensors>>;

function rows(tensors: Tensors, key: string): number[][] {
  const { shape, values } = tensors.get(key)!;
  const length = shape[1] ?? 1;
  return Array.from({ length: shape[0] }, (_, r) => Array.from({ length }, (_, i) => Number(values[r * length + i])));
}

function realIds(tensors: Tensors): Int32Array[] {
  const mask = rows(tensors, "right.attention_mask");
  return rows(tensors, "right.input_ids").map((row, r) => Int32Array.from(row.filter((_, t) => mask[r][t] === 1)));
}

function labelled(tensors: Tensors, problem: Problem): EncodedExample[] {
  const labels = rows(tensors, "right.labels");
  return realIds(tensors).map((ids, r) => ({ kind: "labelled", ids, labels: labels[r], problem }));
}

function spans(tensors: Tensors): EncodedExample[] {
  const [starts, ends] = ["right.start_positions", "right.end_positions"].map((key) => rows(tensors, key).flat());
  return realIds(tensors).map((ids, r) => ({ kind: "span", ids, start: starts[r], end: ends[r] }));
}

function worst(ours: ArrayLike<number>, want: readonly number[], columns: number): number {
  let most = 0;
  for (let r = 0; r * columns < want.length; r++) {
    const row = want.slice(r * columns, (r + 1) * columns);
    const largest = Math.max(...row.map(Math.abs));
    row.forEach((w, c) => (most = Math.max(most, Math.abs((ours[r * columns + c] ?? NaN) - w) / largest)));
  }
  return most;
}

describe.each([
  ["opt-classify", "single_label_classification", 3],
  ["llama-classify", "multi_label_classification", 4],
] as const)("the classifier %s", (name, problem, columns) => {
  const dir = path.join(fixtures, "models", name);

  it.each(["host", "device"] as const)("gives transformers' logits and loss (weights on the %s)", async (to) => {
    const tensors = await readTensors(dir, "expected.safetensors");
    const batch = packBatch(labelled(tensors, problem));
    await withModel(dir, { offload: { to } }, async (model) => {
      const [logits] = await sessionOf(model).forward([batch], { output: "logits" });
      const difference = worst(logits, rows(tensors, "right.logits").flat(), columns);
      expect(difference).toBeLessThan(1e-4);
      expect(difference).toBeGreaterThan(0);
      const { sum, count } = logitLoss(batch, logits);
      expect(Math.abs(sum / count / readJson("models", name, "expected.json").right.loss - 1)).toBeLessThan(1e-5);
    });
  });

  it("evaluates examples as they come in a data set, and predicts the label it scores highest", async () => {
    const tensors = await readTensors(dir, "expected.safetensors");
    const ids = realIds(tensors).map((row) => [...row]);
    const labels = rows(tensors, "right.labels");
    const data = ids.map((row, r) => ({ ids: row, label: columns === 3 ? labels[r][0] : labels[r] }));
    await withModel(dir, {}, async (model) => {
      const evaluation = await model.evaluate(data, { batchSize: 2 });
      expect(Math.abs(evaluation.loss / readJson("models", name, "expected.json").right.loss - 1)).toBeLessThan(1e-5);
      const want = rows(tensors, "right.logits");
      const called = labels.flatMap((row, r) =>
        columns === 3
          ? [want[r].indexOf(Math.max(...want[r])) === row[0]]
          : row.map((y, c) => want[r][c] > 0 === y > 0.5),
      );
      expect(evaluation.accuracy).toBeCloseTo(called.filter(Boolean).length / called.length, 12);
      let r = 0;
      for await (const prediction of model.predict(
        ids.map((row) => ({ ids: row })),
        { batchSize: 3 },
      )) {
        if (prediction.kind !== "labels") throw new Error("not a classifier's prediction");
        expect(prediction.label).toBe(`LABEL_${want[r].indexOf(Math.max(...want[r]))}`);
        expect(worst(prediction.logits, want[r++], columns)).toBeLessThan(1e-4);
      }
      expect(r).toBe(ids.length);
    });
  });
});

describe("the question-answering fixture", () => {
  const dir = path.join(fixtures, "models/opt-qa");

  it("gives transformers' start and end logits", async () => {
    const tensors = await readTensors(dir, "expected.safetensors");
    const batch = packBatch(spans(tensors));
    const lengths = realIds(tensors).map((ids) => ids.length);
    await withModel(dir, {}, async (model) => {
      const [logits] = await sessionOf(model).forward([batch]);
      let begin = 0;
      for (const [r, length] of lengths.entries()) {
        for (const [c, key] of (["right.start_logits", "right.end_logits"] as const).entries()) {
          const ours = Float32Array.from({ length }, (_, i) => logits[2 * (begin + i) + c]);
          expect(worst(ours, rows(tensors, key)[r].slice(0, length), length)).toBeLessThan(1e-4);
        }
        begin += length;
      }
    });
  });

  it("gives transformers' loss once padding is put into the sum, as transformers counts it", async () => {
    const tensors = await readTensors(dir, "expected.safetensors");
    const ids = realIds(tensors);
    const longest = Math.max(...ids.map((row) => row.length));
    // A padded position has the padding token in the position row of padding (-1), and sees the row's own tokens but
    // not itself.
    const PAD = 1;
    const plain = packBatch(spans(tensors));
    const padded: PackedBatch = {
      ...plain,
      tokens: Int32Array.from([...plain.tokens, ...ids.map(() => PAD)]),
      positions: Int32Array.from([...plain.positions, ...ids.map(() => -1)]),
      sequences: Int32Array.from([
        ...plain.sequences,
        ...ids.flatMap((row, r) => {
          const start = ids.slice(0, r).reduce((sum, other) => sum + other.length, 0);
          return [plain.tokens.length + r, 1, start, row.length - 1, start + row.length - 1];
        }),
      ]),
      headRows: Int32Array.from({ length: plain.tokens.length + ids.length }, (_, i) => i),
    };
    await withModel(dir, {}, async (model) => {
      const [logits] = await sessionOf(model).forward([padded]);
      let sum = 0;
      let begin = 0;
      for (const [r, { length }] of ids.entries()) {
        for (const [c, at] of [
          rows(tensors, "right.start_positions").flat()[r],
          rows(tensors, "right.end_positions").flat()[r],
        ].entries()) {
          const own = Array.from({ length }, (_, i) => logits[2 * (begin + i) + c]);
          const pad = logits[2 * (plain.tokens.length + r) + c];
          sum +=
            Math.log(
              [...own, ...new Array<number>(longest - length).fill(pad)].reduce((s, x) => s + Math.exp(x - own[at]), 0),
            ) / 2;
        }
        begin += length;
      }
      expect(Math.abs(sum / ids.length / readJson("models", "opt-qa", "expected.json").right.loss - 1)).toBeLessThan(
        1e-5,
      );
    });
  });

  it("finds the best answer of each text", async () => {
    const tensors = await readTensors(dir, "expected.safetensors");
    const [starts, ends] = ["right.start_logits", "right.end_logits"].map((key) => rows(tensors, key));
    await withModel(dir, {}, async (model) => {
      let r = 0;
      for await (const prediction of model.predict(realIds(tensors).map((ids) => ({ ids: [...ids] })))) {
        if (prediction.kind !== "span") throw new Error("not an answer");
        const length = realIds(tensors)[r].length;
        const all = Array.from({ length: length * length }, (_, i) => ({
          start: Math.floor(i / length),
          end: i % length,
        })).filter((s) => s.end >= s.start);
        const best = all.reduce((a, b) =>
          starts[r][b.start] + ends[r][b.end] > starts[r][a.start] + ends[r][a.end] ? b : a,
        );
        expect({ start: prediction.start, end: prediction.end }).toEqual(best);
        r++;
      }
      expect(r).toBe(4);
    });
  });
});

describe("the losses of a training step, on the device", () => {
  const cases: [string, (tensors: Tensors) => EncodedExample[]][] = [
    ["opt-classify", (t) => labelled(t, "single_label_classification")],
    ["llama-classify", (t) => labelled(t, "multi_label_classification")],
    [
      "opt-classify",
      (t) =>
        realIds(t).map((ids, r) => ({ kind: "labelled", ids, labels: [0.5 * r, -1, 2.25], problem: "regression" })),
    ],
    ["opt-qa", spans],
  ];

  it.each(cases)("equal those of both probes' logits (%s, %#)", async (name, examples) => {
    const dir = path.join(fixtures, "models", name);
    const encoded = examples(await readTensors(dir, "expected.safetensors"));
    // Two micro-batches: sums are over all of them.
    const batch = [packBatch(encoded.slice(0, 1)), packBatch(encoded.slice(1))];
    const count = batch.reduce((sum, b) => sum + labelledCount(b), 0);
    await withModel(dir, {}, async (model) => {
      const expected: number[] = [];
      for (const sign of [1, -1] as const) {
        const logits = await sessionOf(model).forward(batch, {
          output: "logits",
          probe: { of: { ...STEP, step: 0 }, at: { direction: 0, sign } },
        });
        expected.push(batch.reduce((sum, b, i) => sum + logitLoss(b, logits[i]).sum, 0) / count);
      }
      const result = await takeStep(model, batch, { ...STEP, step: 0 });
      expect(result.lossPlus / expected[0] - 1).toBeCloseTo(0, 6);
      expect(result.lossMinus / expected[1] - 1).toBeCloseTo(0, 6);
      expect(expected[0]).not.toBe(expected[1]);
      expect(result.projectedGradient).toBe(Math.fround((result.lossPlus - result.lossMinus) / (2 * STEP.eps)));
    });
  });

  it.each(["mean", "sum"] as const)("of choices by their %s equal those of both probes' scores", async (reduction) => {
    const sequence = (...ids: number[]) => ({ ids: Int32Array.from(ids), from: 3 });
    // Choices of one token and of several, so that a mean and a sum call another one the best.
    const example = (label: number, i: number): EncodedExample => ({
      kind: "choices",
      choices: [sequence(2, 40 + i, 9, 77), sequence(2, 40 + i, 9, 5, 60, 131), sequence(2, 40 + i, 9, 12, 13)],
      label,
    });
    const encoded = [0, 1, 2, 1, 0].map(example);
    const pack = (by: typeof reduction) =>
      [encoded.slice(0, 2), encoded.slice(2)].map((part) => packBatch(part, { reduction: by }));
    await withModel(path.join(fixtures, "models/opt"), {}, async (model) => {
      const lossOf = (by: typeof reduction, logprobs: readonly Float32Array[]) =>
        pack(by).reduce((sum, b, i) => sum + batchLoss(b, logprobs[i]).sum, 0) / encoded.length;
      const [own, other]: number[][] = [[], []];
      for (const sign of [1, -1] as const) {
        const of = { ...STEP, step: 0 };
        const logprobs = await sessionOf(model).forward(pack(reduction), { probe: { of, at: { direction: 0, sign } } });
        own.push(lossOf(reduction, logprobs));
        other.push(lossOf(reduction === "mean" ? "sum" : "mean", logprobs));
      }
      const { lossPlus, lossMinus } = await takeStep(model, pack(reduction), { ...STEP, step: 0 });
      expect(lossPlus / own[0] - 1).toBeCloseTo(0, 6);
      expect(lossMinus / own[1] - 1).toBeCloseTo(0, 6);
      expect(own[0]).not.toBe(own[1]);
      expect(Math.abs(other[0] / own[0] - 1)).toBeGreaterThan(0.1);
    });
  });

  it("fall when the classifier is trained on its batch", async () => {
    const dir = path.join(fixtures, "models/opt-classify");
    const batch = packBatch(labelled(await readTensors(dir, "expected.safetensors"), "single_label_classification"));
    await withModel(dir, { offload: { wire: "fp32" } }, async (model) => {
      const steps = await takeSteps(model, new Array<PackedBatch>(60).fill(batch), () => ({
        ...STEP,
        learningRate: 2e-4,
      }));
      const mean = (some: typeof steps) =>
        some.reduce((sum, s) => sum + s.lossPlus + s.lossMinus, 0) / (2 * some.length);
      expect(mean(steps.slice(-10))).toBeLessThan(0.8 * mean(steps.slice(0, 10)));
    });
  });
});
