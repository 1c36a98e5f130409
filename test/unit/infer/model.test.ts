/** What a model's own methods hand on: each option of theirs changes what a pass is given, or what is answered. */
import type { PackedBatch } from "../../../src/data/batch.js";
import type { Loaded } from "../../../src/loaded.js";
import { Model } from "../../../src/model.js";
import { numberParameters } from "../../../src/ops/parameter.js";
import { failure } from "../checkpoint/support.js";
import { spellingTokenizer } from "../data/support.js";
import { tokenSession } from "../generate/support.js";
import { answeringSession, targetsOf } from "./support.js";

const CAUSAL = { kind: "causal" };
const REGRESSION = { kind: "classification", labels: ["a"], problem: "regression" };

/** A target's log-probability is -id / 8, and every logit the token behind it. */
const answers = (micro: PackedBatch) =>
  micro.targets.length > 0
    ? Float32Array.from(targetsOf(micro), ({ id }) => -id / 8)
    : Float32Array.from(micro.headRows, (row) => micro.tokens[row]);

function modelOf(o: { head?: object; maxTokens?: number; maxPositions?: number; session?: object } = {}) {
  const { head = CAUSAL, maxTokens, maxPositions = 24 } = o;
  const { session, seen } = answeringSession(answers);
  const definition = { vocabSize: 2000, maxPositions, head };
  const parameters = numberParameters([{ name: "w", shape: [4, 2], decay: true }]);
  const model = new Model({
    ...{ dir: "/none", config: { model_type: "opt" }, unused: [], definition, parameters, options: { maxTokens } },
    ...{ tokenizer: spellingTokenizer(), session: { ...session, checkOpen: () => undefined, ...o.session } },
  } as unknown as Loaded);
  /** Sequences of each micro-batch of each pass. */
  const sizes = () => seen.map(({ batch }) => batch.map(({ sequences }) => sequences.length / 5));
  return { model, seen, sizes };
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}
const texts = Array.from({ length: 20 }, (_, i) => ({ ids: [5, 6 + i, 7] }));

describe("evaluate", () => {
  it.each([
    [{}, undefined, [[16], [4]]],
    [{ batchSize: 7 }, undefined, [[7], [7], [6]]],
    [{ batchSize: 20 }, undefined, [[20]]],
    [{ batchSize: 20 }, 24, [[8, 8, 4]]],
    // Where nothing is said, eight sequences of the longest length: 8 x 4 tokens are ten examples.
    [{ batchSize: 20, maxLength: 4 }, undefined, [[10, 10]]],
    [{ batchSize: 20, maxLength: 4 }, 60, [[20]]],
  ])("with %j, and maxTokens %p of the model", async (options, maxTokens, want) => {
    const { model, sizes } = modelOf(maxTokens === undefined ? {} : { maxTokens });
    const { examples, labelled } = await model.evaluate(texts, options);
    expect(sizes()).toEqual(want);
    expect([examples, labelled]).toEqual([20, 40]);
  });

  it("reads a template, cuts and scores as it is told", async () => {
    const template = { prompt: "{t}", choices: ["\u0010\u0010\u0010", "\u0018"], labelField: "gold" };
    const run = async (options: object) => {
      const { model, seen } = modelOf({ maxPositions: 12 });
      const { accuracy } = await model.evaluate([{ t: "abcdefgh", gold: 1 }], { template, ...options });
      return [accuracy, String.fromCharCode(...seen[0].batch[0].tokens)];
    };
    expect(await run({})).toEqual([0, "\u0002abcdefgh\u0010\u0010"]);
    expect(await run({ reduction: "sum" })).toEqual([1, "\u0002abcdefgh\u0010\u0010"]);
    expect(await run({ maxLength: 6, truncation: "left" })).toEqual([0, "\u0002gh\u0010\u0010"]);
    expect(await run({ maxLength: 6, truncation: "right" })).toEqual([0, "\u0002ab\u0010\u0010"]);
    await expect(run({ maxLength: 11 })).rejects.toThrow(failure("ZO2_ERR_LENGTH", "12 tokens, and the limit is 11"));
    expect(await run({ maxLength: 12 })).toEqual(await run({}));
    await expect(run({ maxLength: 13 })).rejects.toThrow(failure("ZO2_ERR_LENGTH", "the model has 12 positions"));
    await expect(run({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "ZO2_ERR_ABORTED" });
  });
});

describe("score", () => {
  const inputs = [{ ids: [5, 8, 16] }, { ids: [9] }, { text: "a" }, { ids: [5, 24] }];
  const want = [
    { ids: [5, 8, 16], logprobs: [null, -1, -2], sum: -3 },
    { ids: [9], logprobs: [null], sum: 0 },
    { ids: [2, 97], logprobs: [null, -97 / 8], sum: -97 / 8 },
    { ids: [5, 24], logprobs: [null, -3], sum: -3 },
  ];

  it.each([
    [{}, undefined, [[3]]],
    [{ batchSize: 3 }, undefined, [[2], [1]]],
    [{ batchSize: 1 }, undefined, [[1], [1], [1]]],
    [{}, 4, [[1], [2]]],
    [{}, 6, [[2], [1]]],
  ])("answers each input with %j and maxTokens %p", async (options, maxTokens, sizes) => {
    const made = modelOf(maxTokens === undefined ? {} : { maxTokens });
    expect(await all(made.model.score(inputs, options))).toEqual(want);
    expect(made.sizes()).toEqual(sizes);
  });

  it("is over where it is told to stop, and before an input that is too long, after those before it", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(all(modelOf().model.score(inputs, { signal }))).rejects.toMatchObject({
      ...{ code: "ZO2_ERR_ABORTED", message: "scoring was stopped after 0 inputs", cause: signal.reason },
    });
    const { model } = modelOf({ maxPositions: 3 });
    const scored: unknown[] = [];
    const run = (async () => {
      for await (const score of model.score([...inputs, { ids: [1, 2, 3, 4], place: "in.jsonl:9" }]))
        scored.push(score);
    })();
    await expect(run).rejects.toThrow(failure("ZO2_ERR_LENGTH", "in.jsonl:9: 4 tokens, and the limit is 3"));
    expect(scored).toEqual(want);
  });
});

it("predict answers as many inputs a pass as it is told", async () => {
  const inputs = [{ ids: [5, 8] }, { ids: [9] }, { ids: [4, 4, 7] }];
  for (const [options, maxTokens, want] of [
    [{}, undefined, [[3]]],
    [{ batchSize: 2 }, undefined, [[2], [1]]],
    [{}, 4, [[2], [1]]],
  ] as const) {
    const { model, sizes } = modelOf({ head: REGRESSION, ...(maxTokens === undefined ? {} : { maxTokens }) });
    expect((await all(model.predict(inputs, options))).map((p) => p.kind === "labels" && p.scores)).toEqual([
      { a: 8 },
      { a: 9 },
      { a: 7 },
    ]);
    expect(sizes()).toEqual(want);
  }
  const signal = AbortSignal.abort();
  await expect(all(modelOf({ head: REGRESSION }).model.predict(inputs, { signal }))).rejects.toMatchObject({
    code: "ZO2_ERR_ABORTED",
  });
});

describe("generate", () => {
  const counting = () => {
    const made = tokenSession(2000, (tokens) => (tokens.at(-1) ?? 0) + 1);
    return { ...made, ...modelOf({ session: made.session }) };
  };

  it("goes on as its options say, alone and with others", async () => {
    const options = { maxNewTokens: 3, ignoreEos: true };
    const { model, passes, caches } = counting();
    expect((await model.generate({ ids: [5, 6] }, options).result()).ids).toEqual([7, 8, 9]);
    const many = await all(
      model.generateAll([{ ids: [5] }, { ids: [8, 9] }, { ids: [3] }], { ...options, batchSize: 2 }),
    );
    expect(many.map(({ ids }) => ids)).toEqual([
      [6, 7, 8],
      [10, 11, 12],
      [4, 5, 6],
    ]);
    expect(passes.map(({ batch }) => batch.map(({ sequences }) => sequences.length / 5))).toEqual(
      [1, 1, 1, 2, 2, 2, 1, 1, 1].map((n) => [n]),
    );
    expect(caches).toHaveLength(3);
    expect(caches.every(({ disposed }) => disposed)).toBe(true);
  });

  it("is refused for wrong options at once, stopped by its signal, and not for a head of labels", async () => {
    const { model } = counting();
    expect(() => model.generate("a", { maxNewTokens: 0 })).toThrow(failure("ZO2_ERR_CONFIG", "maxNewTokens"));
    expect(() => model.generateAll(["a"], { maxNewTokens: 0 })).toThrow(failure("ZO2_ERR_CONFIG", "maxNewTokens"));
    const signal = AbortSignal.abort();
    await expect(model.generate("a", { signal, ignoreEos: true }).result()).rejects.toMatchObject({
      code: "ZO2_ERR_ABORTED",
    });
    await expect(all(model.generateAll(["a"], { signal }))).rejects.toMatchObject({ code: "ZO2_ERR_ABORTED" });
    const { model: labels } = modelOf({ head: REGRESSION });
    expect(() => labels.generate("a")).toThrow(failure("ZO2_ERR_MODEL_UNSUPPORTED", "the head is for classification"));
  });
});

it("logits asks for those behind every token", async () => {
  const { model, seen } = modelOf();
  await model.logits([5, 6, 7]);
  const [{ batch, output }] = seen;
  expect(output).toBe("logits");
  expect([[...batch[0].tokens], [...batch[0].headRows]]).toEqual([
    [5, 6, 7],
    [0, 1, 2],
  ]);
});

it("the values of a parameter that is not there are refused by name", async () => {
  await expect(modelOf().model.parameterValues("v")).rejects.toThrow(
    failure("ZO2_ERR_INVALID_ARGUMENT", 'no parameter "v"'),
  );
  expect(modelOf().model.parameterCount).toBe(8);
});
