/** The training loop over a session that answers at once: what it asks for, when, and with which options. */
import { mkdtemp, readdir, readlink, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TrainerOptions } from "../../../src/config/trainer.js";
import type { Evaluation } from "../../../src/infer/evaluate.js";
import { type FitOptions, type Step, Trainer, type TrainingEvaluation } from "../../../src/train/trainer.js";
import { failure } from "../checkpoint/support.js";
import { spellingTokenizer } from "../data/support.js";
import { evaluateBySession, trainedModel, type TrainedModel } from "./support.js";

jest.mock("../../../src/infer/evaluate.js", () => ({
  ...jest.requireActual<object>("../../../src/infer/evaluate.js"),
  evaluateSource: (...args: Parameters<typeof evaluateBySession>) => evaluateBySession(...args),
}));

const method = { name: "mezo-sgd" as const, learningRate: 0.5, eps: 0.25 };
const data = Array.from({ length: 9 }, (_, i) => ({ ids: [i + 1, i + 2, i + 3] }));

async function fit(
  { model }: TrainedModel,
  options: Partial<TrainerOptions> = {},
  o: FitOptions = {},
  examples: object[] = data,
): Promise<Step[]> {
  const steps: Step[] = [];
  const trainer = new Trainer(model, { method, steps: 3, batchSize: 2, ...options });
  for await (const step of trainer.fit(examples, o)) steps.push(step);
  return steps;
}

/** Evaluations in the order of `scores`, and which of them were the best so far. */
async function evaluated(scores: readonly Partial<Evaluation>[]): Promise<boolean[]> {
  const best: boolean[] = [];
  const onEvaluation = (evaluation: TrainingEvaluation) => void best.push(evaluation.best);
  const evaluation = { data, every: 1 };
  await fit(trainedModel({ scores }), { steps: scores.length, evaluation }, { onEvaluation });
  return best;
}

describe("a step", () => {
  it("says both losses, their mean, its gradient, rate and counts", async () => {
    const steps = await fit(trainedModel({ losses: (step) => [3 + step, 1] }));
    expect(steps.map((s) => [s.index, s.lossPlus, s.lossMinus, s.loss, s.projectedGradient])).toEqual([
      [0, 3, 1, 2, 0.5],
      [1, 4, 1, 2.5, 1.5],
      [2, 5, 1, 3, 2.5],
    ]);
    // Of three tokens the last is predicted and not fed.
    for (const { examples, labelled, tokens, deviceBytes, learningRate, seconds, tokensPerSecond } of steps) {
      expect({ examples, labelled, tokens, deviceBytes, learningRate }).toEqual({
        ...{ examples: 2, labelled: 4, tokens: 4, deviceBytes: 4711, learningRate: 0.5 },
      });
      expect(tokensPerSecond).toBe(tokens / seconds);
    }
  });

  it("has the probes of its eps, and the method's own options, rate and noise", async () => {
    const trained = trainedModel({});
    const schedule = { name: "linear", warmupSteps: 1 } as const;
    const own = { weightDecay: 0.125, noise: "rademacher", schedule } as const;
    await fit(trained, { method: { ...method, ...own }, seed: 77n, steps: 5 });
    const requests = trained.steps().map(({ request }) => request);
    expect(requests.map(({ step }) => step)).toEqual([0, 1, 2, 3, 4]);
    expect(requests.map(({ learningRate }) => learningRate)).toEqual([0, 0.5, 0.375, 0.25, 0.125]);
    for (const { probes, rule, eps, weightDecay, noise, seed, coefficients } of requests) {
      expect({ eps, weightDecay, noise, seed, coefficients }).toEqual({
        ...{ eps: 0.25, weightDecay: 0.125, noise: "rademacher", seed: 77n, coefficients: undefined },
      });
      expect(probes.map(({ sign }) => sign)).toEqual([1, -1]);
      expect(rule).toEqual({
        ...{ shaping: "none", normalised: false, divisor: 0.5 },
        differences: [{ minuend: 0, subtrahend: 1 }],
      });
    }
  });

  it("takes the noise and the gradient that a test puts in the place of its own", async () => {
    const trained = trainedModel({});
    const noise = (step: number) => Float32Array.of(step);
    await fit(trained, { test: { noise, projectedGradient: (step) => -step } });
    expect(trained.steps().map(({ request }) => [request.noise, request.coefficients])).toEqual([
      [{ z: Float32Array.of(0) }, [-0]],
      [{ z: Float32Array.of(1) }, [-1]],
      [{ z: Float32Array.of(2) }, [-2]],
    ]);
  });

  it("sees every example once before any twice, whatever the batch size", async () => {
    const trained = trainedModel({});
    await fit(trained, { steps: 9, batchSize: 3 });
    const firsts = trained
      .steps()
      .map(({ batch }) => batch.flatMap(({ tokens, positions }) => firstsOf(tokens, positions)));
    for (let pass = 0; pass < 3; pass++)
      expect(
        firsts
          .slice(3 * pass, 3 * pass + 3)
          .flat()
          .sort(),
      ).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(firsts.slice(0, 3)).not.toEqual(firsts.slice(3, 6));
    const other = trainedModel({});
    await fit(other, { steps: 3, batchSize: 3, seed: 1n });
    const otherFirsts = other.steps().map(({ batch }) => batch.flatMap((b) => firstsOf(b.tokens, b.positions)));
    expect(otherFirsts).not.toEqual(firsts.slice(0, 3));
  });
});

/** The first token of every sequence. */
const firstsOf = (tokens: Int32Array, positions: Int32Array) => [...tokens].filter((_, i) => positions[i] === 0);

describe("the batch of a step", () => {
  const lengths = (trained: TrainedModel) =>
    trained.steps().map(({ batch }) => batch.map(({ positions }) => positions.filter((p) => p === 0).length));

  it.each<[Partial<TrainerOptions>, number | undefined, number[]]>([
    [{ batchSize: 6 }, undefined, [6]],
    [{ batchSize: 6, microBatchSize: 4 }, undefined, [4, 2]],
    [{ batchSize: 6, microBatchSize: 1 }, undefined, [1, 1, 1, 1, 1, 1]],
    // Three tokens each: exactly two, or not quite three, fit.
    [{ batchSize: 6 }, 6, [2, 2, 2]],
    [{ batchSize: 6 }, 8, [2, 2, 2]],
    [{ batchSize: 6 }, 9, [3, 3]],
    [{ batchSize: 6, microBatchSize: 2 }, 9, [2, 2, 2]],
    // Eight sequences of the longest length, where the model says nothing: 8 x 3 tokens are eight examples.
    [{ batchSize: 9, maxLength: 3 }, undefined, [8, 1]],
  ])("is cut by %j and maxTokens %p", async (options, maxTokens, want) => {
    const trained = trainedModel(maxTokens === undefined ? {} : { maxTokens });
    await fit(trained, { steps: 1, ...options });
    expect(lengths(trained)).toEqual([want]);
  });

  it("is encoded with the run's own length, truncation, reduction and template", async () => {
    const lines = [{ sentence: "abcdef", verdict: 1 }];
    const template = { prompt: "{sentence}?", choices: ["x", "yz"], labelField: "verdict" };
    const run = async (options: Partial<TrainerOptions>) => {
      const trained = trainedModel({ tokenizer: spellingTokenizer() });
      await fit(trained, { steps: 1, batchSize: 1, template, ...options }, {}, lines);
      const [micro] = trained.steps()[0].batch;
      if (micro.objective.kind !== "choices") throw new Error(micro.objective.kind);
      return { reduction: micro.objective.reduction, text: String.fromCharCode(...micro.tokens) };
    };
    // Rows from which nothing is predicted are left out: of "yz" only "y" is fed.
    expect(await run({})).toEqual({ reduction: "mean", text: "\u0002abcdef?y" });
    expect(await run({ reduction: "sum", maxLength: 6, truncation: "left" })).toEqual({
      ...{ reduction: "sum", text: "\u0002ef?y" },
    });
    expect(await run({ maxLength: 6, truncation: "right" })).toEqual({ reduction: "mean", text: "\u0002abcy" });
    await expect(run({ maxLength: 6 })).rejects.toThrow(failure("ZO2_ERR_LENGTH", "10 tokens, and the limit is 6"));
  });
});

describe("evaluation during training", () => {
  it.each([
    [7, 3, [3, 6, 7]],
    [6, 3, [3, 6]],
    [4, 10, [4]],
    [3, 1, [1, 2, 3]],
  ])("of %d steps, every %d: after steps %j, with none of the later ones begun", async (steps, every, want) => {
    const trained = trainedModel({});
    const seen: number[] = [];
    const onEvaluation = ({ step }: TrainingEvaluation) => void seen.push(step);
    await fit(trained, { steps, evaluation: { data, every } }, { onEvaluation });
    expect(seen).toEqual(want);
    const order = trained.asked.flatMap((a) => (a.what === "step" || a.what === "evaluate" ? [a.what] : []));
    const begun = order.flatMap((what, i) =>
      what === "evaluate" ? [order.slice(0, i).filter((w) => w === "step").length] : [],
    );
    expect(begun).toEqual(want);
    // What is evaluated counts as taken.
    trained.asked.forEach(({ what }, i) => {
      if (what === "evaluate") expect(trained.asked[i - 1].what).toBe("commit");
    });
  });

  it("is none where none was asked for", async () => {
    const trained = trainedModel({});
    await fit(trained);
    expect(trained.evaluations()).toEqual([]);
  });

  it("has the run's options for text, its own batch size and data, and the run's signal", async () => {
    const template = { prompt: "{a}", completion: "{b}" };
    const { signal } = new AbortController();
    const trained = trainedModel({ tokenizer: spellingTokenizer() });
    const options = { maxLength: 4, truncation: "left", reduction: "sum", template } as const;
    const lines = [{ a: "abcdef", b: "g" }];
    const held = [{ a: "uvwxy", b: "z" }];
    await fit(trained, { steps: 1, ...options, evaluation: { data: held, every: 5, batchSize: 3 } }, { signal }, lines);
    const [{ source, options: asked }] = trained.evaluations();
    expect(asked).toEqual({ reduction: "sum", batchSize: 3, limits: { items: 3, tokens: 32 }, signal });
    const first = await source.at(0);
    expect([source.size, String.fromCharCode(...(first.kind === "tokens" ? first.ids : []))]).toEqual([1, "\u0002xyz"]);
    const plain = trainedModel({});
    await fit(plain, { steps: 1, truncation: "right", evaluation: { data, every: 5 } });
    expect(plain.evaluations()[0].options).toMatchObject({ batchSize: 16, reduction: "mean", signal: undefined });
  });

  it("is awaited: the next step waits for what the caller does with it", async () => {
    const trained = trainedModel({});
    const onEvaluation = async () => {
      const before = trained.asked.length;
      await new Promise((resolve) => setTimeout(resolve, 5));
      expect(trained.asked).toHaveLength(before);
    };
    await fit(trained, { steps: 4, evaluation: { data, every: 2 } }, { onEvaluation });
    expect(trained.evaluations()).toHaveLength(2);
  });

  const of = (...pairs: [number | null, number][]) => pairs.map(([accuracy, loss]) => ({ accuracy, loss }));
  it.each<[string, Partial<Evaluation>[], boolean[]]>([
    ["lower losses", of([null, 3], [null, 2], [null, 2.5], [null, 1]), [true, true, false, true]],
    ["equal losses: the first", of([null, 2], [null, 2]), [true, false]],
    ["higher accuracies, whatever the loss", of([0.5, 1], [0.75, 9], [0.625, 0.1]), [true, true, false]],
    ["a lower loss at the same accuracy", of([0.5, 2], [0.5, 3], [0.5, 1], [0.5, 1]), [true, false, true, false]],
    [
      "accuracies that are not the last one's but the best one's",
      of([0.9, 1], [0.1, 1], [0.5, 1]),
      [true, false, false],
    ],
  ])("finds the best by %s", async (_, scores, want) => {
    expect(await evaluated(scores)).toEqual(want);
  });
});

describe("the loop", () => {
  it("keeps two steps in flight, and one where updates are not deferred, which are flushed then", async () => {
    const inFlight = async (options: Partial<TrainerOptions>) => {
      const trained = trainedModel({});
      const most: number[] = [];
      const trainer = new Trainer(trained.model, { method, steps: 4, batchSize: 2, ...options });
      for await (const { index } of trainer.fit(data)) most.push(trained.steps().length - index);
      return { most, flushes: trained.asked.filter(({ what }) => what === "flush").length };
    };
    expect(await inFlight({})).toEqual({ most: [2, 2, 2, 1], flushes: 0 });
    expect(await inFlight({ deferredUpdate: false })).toEqual({ most: [1, 1, 1, 1], flushes: 4 });
  });

  it("that is left goes on with the next step's batch; what was not yielded is discarded", async () => {
    const whole = trainedModel({});
    await fit(whole, { steps: 6 });
    const parts = trainedModel({});
    const trainer = new Trainer(parts.model, { method, steps: 6, batchSize: 2 });
    const indices: number[] = [];
    while (trainer.stepsTaken < 6) {
      for await (const { index } of trainer.fit(data)) {
        indices.push(index);
        if (index % 2 === 1) break;
      }
      expect(parts.asked.at(-1)?.what).toBe("discard");
    }
    expect(indices).toEqual([0, 1, 2, 3, 4, 5]);
    const byStep = new Map(parts.steps().map(({ batch, request }) => [request.step, batch]));
    for (const { batch, request } of whole.steps()) expect(byStep.get(request.step)).toEqual(batch);
  });

  it("that is aborted yields what is in flight, and says how far it came", async () => {
    const trained = trainedModel({});
    const abort = new AbortController();
    const reason = new Error("enough");
    const trainer = new Trainer(trained.model, { method, steps: 9, batchSize: 2 });
    const indices: number[] = [];
    const run = (async () => {
      for await (const { index } of trainer.fit(data, { signal: abort.signal })) {
        indices.push(index);
        if (index === 1) abort.abort(reason);
      }
    })();
    await expect(run).rejects.toMatchObject({
      ...{ code: "ZO2_ERR_ABORTED", message: "training was stopped after 3 of 9 steps", cause: reason },
    });
    expect(indices).toEqual([0, 1, 2]);
    expect(trainer.stepsTaken).toBe(3);
  });

  it("opens a file for the run, and closes it however that ends", async () => {
    const dir = await mkdtemp(join(tmpdir(), "zo2-trainer-"));
    const file = join(dir, "train.jsonl");
    const opened = async () => {
      const links = (await readdir("/proc/self/fd")).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => ""));
      return (await Promise.all(links)).includes(file);
    };
    try {
      await writeFile(file, data.map((line) => JSON.stringify(line)).join("\n"));
      const trainer = new Trainer(trainedModel({}).model, { method, steps: 4, batchSize: 2 });
      for await (const _ of trainer.fit(file)) {
        expect(await opened()).toBe(true);
        break;
      }
      expect(await opened()).toBe(false);
      for await (const _ of trainer.fit(file));
      expect([trainer.stepsTaken, await opened()]).toEqual([4, false]);
    } finally {
      await rm(dir, { recursive: true });
    }
  });

  it("is refused before it begins for more tokens than the model has positions", () => {
    const make = (maxLength: number) =>
      new Trainer(trainedModel({ maxPositions: 32 }).model, { method, steps: 1, maxLength });
    expect(() => make(33)).toThrow(failure("ZO2_ERR_LENGTH", "maxLength is 33, the model has 32 positions"));
    expect(make(32).options.maxLength).toBe(32);
  });
});
