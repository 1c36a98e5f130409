/**
 * Steps of several probes: what is the same whatever holds the weights and whoever computes the losses, and that one
 * transfer of each unit serves them all.
 */
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { Warning } from "../../../src/base/warnings.js";
import type { ModelOptions } from "../../../src/config/model.js";
import type { ObjectiveContext } from "../../../src/config/objective.js";
import type { TrainerOptions } from "../../../src/config/trainer.js";
import { labelledCount } from "../../../src/data/batch.js";
import { packBatch } from "../../../src/data/index.js";
import { coefficientsOf, type MethodOptions, type Probe, stepOf } from "../../../src/method/index.js";
import type { Declared } from "../../../src/schedule/command.js";
import type { Pass } from "../../../src/schedule/facts.js";
import { type Step, Trainer } from "../../../src/train/trainer.js";
import { examples, folder, train } from "./runs.js";
import { sameBits, sessionOf, some, weightBits, withModel } from "./helpers.js";

const STEPS = 5;
const model = folder("gpt2");
const offload = { unitBytes: 20_000, slots: 2 };

type Method = TrainerOptions["method"];
const common = { weightDecay: 0.1, schedule: { name: "linear" } } as const;
const ALL: readonly Method[] = [
  { name: "fzoo", directions: 4, learningRate: 1e-6, ...common },
  { name: "lozo", directions: 2, interval: 3, learningRate: 1e-3, ...common },
  { name: "es", directions: 3, antithetic: true, fitness: "rank", learningRate: 1e-2, ...common },
  { name: "mezo-sgd", directions: 4, learningRate: 1e-3, noise: "rademacher", ...common },
  { name: "es", directions: 6, learningRate: 1e-2, ...common },
];
const METHODS = some(ALL, 2).map((method): [string, Method] => [JSON.stringify(method), method]);

interface Fitted {
  readonly steps: readonly Step[];
  readonly numbers: readonly unknown[];
  readonly weights: Uint32Array[];
  readonly warnings: readonly Warning[];
}

function fit(method: Method, options: ModelOptions, more: Partial<TrainerOptions> = {}, data: object[] = examples) {
  return withModel(model, options, async (loaded): Promise<Fitted> => {
    const steps: Step[] = [];
    const warnings: Warning[] = [];
    const trainer = new Trainer(loaded, { method, steps: STEPS, batchSize: 2, seed: 11, ...more });
    const onWarning = (warning: Warning) => warnings.push(warning);
    for await (const step of trainer.fit(data, { onWarning })) steps.push(step);
    const numbers = steps.flatMap((s) => [s.loss, s.lossPlus, s.lossMinus, ...s.coefficients, s.learningRate]);
    return { steps, numbers, weights: await weightBits(loaded), warnings };
  });
}

type Passes = (readonly [Pass, readonly Declared[]])[];

/** What the steps among passes move, and how often they run a unit. */
function movesOf(passes: Passes) {
  return passes
    .filter(([pass]) => pass.state !== null)
    .map(([{ probes }, commands]) => {
      const moved = (kind: "upload" | "offload") =>
        commands.flatMap(({ work }) => (work.kind === kind && work.what === "weights" ? [work.unit] : []));
      const runs = commands.filter(({ work }) => work.kind === "run").length;
      return { upload: moved("upload"), offload: moved("offload"), runs, probes: probes.length };
    });
}

let alone: ReturnType<typeof movesOf>;
beforeAll(async () => {
  const passes: Passes = [];
  const onPass = (pass: Pass, commands: readonly Declared[]) => passes.push([pass, commands]);
  await fit({ name: "mezo-sgd", learningRate: 1e-3 }, { offload, test: { onPass } });
  alone = movesOf(passes);
});

describe.each(METHODS)("%s", (_, method) => {
  let streamed: Fitted;
  const passes: Passes = [];
  beforeAll(async () => {
    const onPass = (pass: Pass, commands: readonly Declared[]) => passes.push([pass, commands]);
    streamed = await fit(method, { offload, test: { onPass } });
  });

  it("learns, and its coefficients are those of its losses", async () => {
    const before = await withModel(model, { offload }, weightBits);
    expect(sameBits(streamed.weights, before)).toBe(false);
    for (const { coefficients, skipped } of streamed.steps) {
      expect(coefficients).toHaveLength(method.directions ?? 0);
      expect(new Set(coefficients).size).toBeGreaterThan(1);
      expect(skipped).toBe(false);
    }
  });

  it("brings and takes each unit once a step, as MeZO along one direction does", () => {
    const steps = movesOf(passes);
    expect(steps).toHaveLength(STEPS);
    expect(steps.map(({ upload, offload: taken }) => [upload, taken])).toEqual(
      alone.map(({ upload, offload: taken }) => [upload, taken]),
    );
    for (const { upload, runs, probes } of steps) {
      expect(new Set(upload).size).toBe(upload.length);
      expect(runs).toBe(upload.length * probes);
    }
  });

  const VARIANTS: readonly (readonly [string, ModelOptions, Partial<TrainerOptions>])[] = [
    ["some units resident", { offload, test: { tier: (unit) => (unit % 3 === 1 ? "device" : "host") } }, {}],
    ["resident", { offload: { ...offload, to: "device" } }, {}],
    ["written back every third step", { offload: { ...offload, writeBackEvery: 3 } }, {}],
    ["without overlap, updated at once", { offload: { ...offload, overlap: false } }, { deferredUpdate: false }],
    [
      "prepared ahead, delayed at random",
      { offload: { ...offload, prepareAhead: "on" }, test: { delayMicroseconds: 100, poison: true } },
      {},
    ],
    ["on disk", { offload: { ...offload, to: "disk", diskPath: os.tmpdir() } }, {}],
  ];
  it.each(some(VARIANTS, 2))("is the same to the bit %s", async (_name, options, more) => {
    const found = await fit(method, options, more);
    expect(found.numbers).toEqual(streamed.numbers);
    expect(sameBits(found.weights, streamed.weights)).toBe(true);
  });

  it("is replayed from its journal, and goes on where it was left", async () => {
    const dir = await fs.mkdtemp(path.join(await fs.realpath(os.tmpdir()), "zo2-"));
    try {
      const run = path.join(dir, "run");
      const options = { ...{ method, steps: 8, batchSize: 2, seed: 11 }, run };
      const whole = await train(
        path.join(dir, "whole"),
        "gpt2",
        { offload },
        { ...options, run: path.join(dir, "whole") },
      );
      await train(run, "gpt2", { offload }, options, 3);
      expect(sameBits(await train(run, "gpt2", { offload }, "resume"), whole)).toBe(true);
      const replayed = await withModel(model, { offload, journals: [run] }, weightBits);
      expect(sameBits(replayed, whole)).toBe(true);
    } finally {
      await fs.rm(dir, { recursive: true });
    }
  });
});

const DIRECTION = { seed: 5n, step: 3, eps: 1e-2, noise: "gaussian" } as const;
const STEPS_OF: readonly MethodOptions[] = [
  { name: "fzoo", directions: 5, eps: 1e-2 },
  { name: "mezo-sgd", directions: 3, eps: 1e-2 },
  { name: "es", directions: 4, antithetic: true, fitness: "zscore" },
];

it.each(some(STEPS_OF, 1))("the probes of one visit have the losses of as many passes: %j", (options) =>
  withModel(model, { offload }, async (loaded) => {
    const session = sessionOf(loaded);
    const tokens = (ids: readonly number[]) =>
      ({ kind: "tokens", ids: Int32Array.from(ids), labels: Int32Array.from(ids) }) as const;
    const batch = [packBatch(examples.slice(0, 2).map(({ ids }) => tokens(ids))), packBatch([tokens(examples[4].ids)])];
    const { probes, rule } = stepOf(options);
    const alone: number[] = [];
    for (const at of probes) {
      const logprobs = (await session.forward(batch, { probe: { of: DIRECTION, at } })).map((micro) =>
        micro.reduce((sum, l) => sum - l, 0),
      );
      const labelled = batch.reduce((sum, micro) => sum + labelledCount(micro), 0);
      alone.push(logprobs.reduce((a, b) => a + b, 0) / labelled);
    }
    const { result } = await session.step(batch, { ...DIRECTION, probes, rule, learningRate: 1e-3, weightDecay: 0 });
    const { losses, coefficients } = await result;
    session.discard();
    expect(losses).toEqual(alone);
    expect(new Set(losses).size).toBe(probes.length);
    expect(coefficients).toEqual(coefficientsOf(rule, losses));
  }),
);

describe("objectives of the caller", () => {
  const data = examples.map(({ ids }) => ({ ids }));
  const contextOf = ({ direction, sign }: Probe, step: number): ObjectiveContext => ({
    ...{ step, direction, branch: sign === 0 ? "weights" : sign === 1 ? "plus" : "minus" },
  });
  const CASES: readonly [Method, MethodOptions][] = [
    [
      { name: "fzoo", directions: 3, learningRate: 1e-6 },
      { name: "fzoo", directions: 3, eps: 1e-3 },
    ],
    [
      { name: "es", directions: 2, antithetic: true, fitness: "rank", learningRate: 1e-2 },
      { name: "es", directions: 2, antithetic: true, fitness: "rank" },
    ],
  ];

  it.each(CASES)("of logits are asked once a probe, and %j is made of what they say", async (method, options) => {
    const { probes, rule } = stepOf(options);
    const asked: ObjectiveContext[] = [];
    const losses: number[] = [];
    const found = await fit(
      method,
      { offload },
      {
        objective: {
          from: "logits",
          loss: (outputs, context) => {
            asked.push(context);
            return losses[losses.push(outputs.reduce((sum, { logits }) => sum - logits[0][7], 0)) - 1];
          },
        },
      },
      data,
    );
    expect(asked).toEqual(Array.from({ length: STEPS }, (_, s) => probes.map((probe) => contextOf(probe, s))).flat());
    found.steps.forEach(({ coefficients }, s) => {
      const own = losses.slice(s * probes.length, (s + 1) * probes.length);
      expect(coefficients).toEqual(coefficientsOf(rule, own));
    });
    // The same coefficients, by way of the device.
    const given = await fit(method, { offload }, { test: { projectedGradient: (s) => found.steps[s].coefficients } });
    expect(sameBits(given.weights, found.weights)).toBe(true);
  });

  it("of text hear what the weights say to each side of each direction", async () => {
    const said = new Map<string, unknown>();
    const method: Method = { name: "es", directions: 3, antithetic: true, learningRate: 1e-4, eps: 0.3 };
    const { steps } = await fit(
      method,
      { offload: { ...offload, to: "device" } },
      {
        steps: 1,
        objective: {
          from: "text",
          generate: { maxNewTokens: 4, ignoreEos: true },
          loss: (outputs, { branch, direction }) => {
            said.set(
              `${branch} ${direction}`,
              outputs.map(({ generated }) => generated),
            );
            return said.size;
          },
        },
      },
      data,
    );
    expect([...said.keys()]).toEqual([0, 1, 2].flatMap((d) => [`plus ${d}`, `minus ${d}`]));
    expect(new Set([...said.values()].map((texts) => JSON.stringify(texts))).size).toBeGreaterThan(3);
    expect(steps[0].coefficients.every((coefficient) => coefficient < 0)).toBe(true);
  });

  it("that say the same of every direction move nothing along them, and the first such step is told of", async () => {
    const method: Method = { name: "fzoo", directions: 3, learningRate: 1e-3 };
    // Thrice 0.1 is not 0.3.
    const loss = (_: unknown, { branch, step }: ObjectiveContext) => (branch === "weights" ? step : 0.1);
    const found = await fit(method, { offload }, { objective: { from: "logits", loss } }, data);
    expect(found.steps.map(({ skipped, coefficients }) => [skipped, ...coefficients])).toEqual(
      new Array(STEPS).fill([true, 0, 0, 0]),
    );
    expect(found.steps.map((s) => s.loss)).toEqual([0, 1, 2, 3, 4]);
    expect(found.warnings.map(({ code }) => code)).toEqual(["ZO2_WARN_SKIPPED_STEP"]);
    expect(found.warnings[0].message).toContain("step 0");
    expect(sameBits(found.weights, await withModel(model, { offload }, weightBits))).toBe(true);
  });
});
