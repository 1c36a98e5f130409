import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { ModelOptions } from "../../../src/config/model.js";
import type { TrainerOptions } from "../../../src/config/trainer.js";
import { DataError, Sampler } from "../../../src/data/index.js";
import type { DataSource } from "../../../src/infer/source.js";
import { deviceBytes, type Plan } from "../../../src/memory/plan.js";
import { type FitOptions, Trainer } from "../../../src/train/trainer.js";
import { fixtures, sameBits, sessionOf, weightBits, withModel } from "./helpers.js";

const small = path.join(fixtures, "trajectories/models/A");
const reviews = path.join(__dirname, "../../../docs/demo/reviews/train.jsonl");
const tiny = path.join(__dirname, "../../../docs/demo/tiny-opt");

let work: string;
beforeEach(() => {
  work = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-data-"));
});
afterEach(() => fs.rmSync(work, { recursive: true, force: true }));

function file(name: string, lines: readonly string[]): string {
  fs.writeFileSync(path.join(work, name), lines.join("\n"));
  return path.join(work, name);
}

const host = (more: object = {}): ModelOptions => ({ offload: { wire: "fp32", unitBytes: 400_000, ...more } });
const OPTIONS = { method: { name: "mezo-sgd", learningRate: 1e-3 }, steps: 6, batchSize: 2, seed: 5 } as const;

/** The last of 12 examples that 6 steps draw, each once: of the last step, and of none before. */
function drawnLast(): number {
  const sampler = new Sampler({ size: 12, seed: OPTIONS.seed });
  const drawn = Array.from({ length: 12 }, () => sampler.next());
  return drawn[11] ?? -1;
}

/** Trains; the plans that were in force at each step, and the weights. */
async function train(
  dir: string,
  model: ModelOptions,
  data: DataSource,
  options: Partial<TrainerOptions> = {},
  hooks: FitOptions = {},
  onStep: () => void = () => undefined,
) {
  return withModel(dir, model, async (loaded) => {
    const plans = new Set<Plan | null>();
    for await (const _ of new Trainer(loaded, { ...OPTIONS, ...options }).fit(data, hooks)) {
      plans.add(sessionOf(loaded).plan);
      onStep();
    }
    return { plans: [...plans], weights: await weightBits(loaded) };
  });
}

/** Sequences of 4 tokens, and one of 100 among the last lines. */
const uneven = (long: number) =>
  Array.from({ length: 12 }, (_, i) => ({
    ids: Array.from({ length: i === long ? 100 : 4 }, (_, t) => (i * 37 + t * 5) % 500),
  }));

it("skipping the bad lines of a file trains as a file without them does, bit for bit", async () => {
  const clean = fs.readFileSync(reviews, "utf8").trim().split("\n").slice(0, 120);
  const bad = [
    "{",
    '{"text": "no label"}',
    '{"text": "a", "label": 7}',
    "[]",
    `{"text": "${"a b ".repeat(200)}", "label": 1}`,
  ];
  const mixed = clean.flatMap((line, i) => (i % 3 === 0 ? [bad[i % bad.length] as string, line] : [line]));
  const template = { prompt: "{text} How is it?", choices: [" terrible", " great"] };
  const options = { template, steps: 4, batchSize: 4, maxLength: 96, skipBadLines: true };
  let skipped = 0;
  const some = await train(tiny, host(), file("mixed.jsonl", mixed), options, {
    onChecked: ({ training }) => {
      skipped = training.skipped.count;
    },
  });
  const all = await train(tiny, host(), file("clean.jsonl", clean), options);
  expect(skipped).toBeGreaterThanOrEqual(40);
  expect(sameBits(some.weights, all.weights)).toBe(true);
  await expect(train(tiny, host(), file("mixed.jsonl", mixed), { ...options, skipBadLines: false })).rejects.toThrow(
    DataError,
  );
});

it("a checked run has one plan, knows its longest sequence, and has the bits of an unchecked one", async () => {
  const told: [number, string][] = [];
  const checked = await train(
    small,
    host(),
    uneven(drawnLast()),
    {},
    {
      onChecked: ({ training: { longest } }) => {
        told.push([longest.tokens, longest.place]);
      },
    },
  );
  const unchecked = await train(small, host(), uneven(drawnLast()), { checkData: false });
  expect(told).toEqual([[100, `examples[${drawnLast()}]`]]);
  expect(checked.plans).toHaveLength(1);
  // Else the run would show nothing.
  expect(unchecked.plans.length).toBeGreaterThan(1);
  expect(sameBits(checked.weights, unchecked.weights)).toBe(true);
});

// Slots as many as without: with fewer there is room for more.
describe("with a budget", () => {
  const needs = async (data: DataSource, options = {}) => {
    const { plans } = await train(small, host(), data, { checkData: false, ...options });
    return Math.max(...plans.map((plan) => (plan === null ? 0 : deviceBytes(plan))));
  };

  it("that the longest batch exceeds, a run ends before its first step", async () => {
    const deviceMemory = (await needs(uneven(-1))) + 1024;
    let steps = 0;
    const run = (options: object) =>
      train(small, host({ deviceMemory, slots: 3 }), uneven(drawnLast()), options, {}, () => steps++);
    await expect(run({})).rejects.toMatchObject({ code: "ZO2_ERR_MEMORY_BUDGET" });
    expect(steps).toBe(0);
    await expect(run({ checkData: false })).rejects.toMatchObject({ code: "ZO2_ERR_MEMORY_BUDGET" });
    expect(steps).toBeGreaterThan(0);
  });

  it("that just suffices, or whose longest batch is never drawn, it trains", async () => {
    const options = { batchSize: 6, steps: 4 };
    // Many tokens in common: the sum over the examples is more than the rows that a batch gathers.
    const alike = Array.from({ length: 12 }, (_, i) => ({ ids: Array.from({ length: 60 }, (_, t) => t + (i % 2)) }));
    const deviceMemory = await needs(alike, options);
    const { plans } = await train(small, host({ deviceMemory }), alike, options);
    expect(plans).toHaveLength(1);
    const drawn = (await needs(uneven(-1), { steps: 1 })) + 1024;
    const { weights } = await train(small, host({ deviceMemory: drawn }), uneven(drawnLast()), { steps: 1 });
    expect(weights.length).toBeGreaterThan(0);
  });

  it("that an evaluation exceeds, a run ends before its first step", async () => {
    const deviceMemory = (await needs(uneven(-1))) + 1024;
    let steps = 0;
    const evaluation = { data: uneven(3), every: 4 };
    await expect(
      train(small, host({ deviceMemory, slots: 3 }), uneven(-1), { evaluation }, {}, () => steps++),
    ).rejects.toMatchObject({ code: "ZO2_ERR_MEMORY_BUDGET" });
    expect(steps).toBe(0);
  });
});

it("bad lines of the evaluation are found before the first step", async () => {
  let steps = 0;
  const evaluation = { data: [{ ids: [1, 2] }, { ids: [1, 9999] }], every: 6 };
  await expect(train(small, host(), uneven(-1), { evaluation }, {}, () => steps++)).rejects.toMatchObject({
    code: "ZO2_ERR_DATA",
    counts: { tokens: 1 },
  });
  expect(steps).toBe(0);
});

it("an evaluation leaves bad lines out, and says what it found", async () => {
  await withModel(small, host(), async (model) => {
    const lines = [{ ids: [1, 2, 3] }, { ids: [] }, { ids: [7, 8] }];
    await expect(model.evaluate(lines)).rejects.toMatchObject({ code: "ZO2_ERR_DATA", count: 1 });
    const reports: number[] = [];
    const some = await model.evaluate(lines, {
      skipBadLines: true,
      onChecked: ({ skipped }) => {
        reports.push(skipped.count);
      },
    });
    const all = await model.evaluate([lines[0], lines[2]], { checkData: false });
    expect(reports).toEqual([1]);
    expect({ ...some, seconds: 0 }).toEqual({ ...all, seconds: 0 });
  });
});

it("a check that is stopped leaves the model for others", async () => {
  await withModel(small, host(), async (model) => {
    async function* silent() {
      yield { ids: [1, 2, 3] };
      await new Promise(() => undefined);
    }
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 20);
    const run = new Trainer(model, OPTIONS).fit(silent(), { signal: controller.signal });
    await expect(run.next()).rejects.toMatchObject({ code: "ZO2_ERR_ABORTED" });
    for await (const _ of new Trainer(model, { ...OPTIONS, steps: 1 }).fit(uneven(-1)));
  });
});
