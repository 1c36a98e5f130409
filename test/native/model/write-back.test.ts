/**
 * Write-back every K visits: the copy in host memory lags, and nobody sees it. Every run is held against one that
 * writes back at every visit, bit for bit.
 */
import { createHash } from "node:crypto";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { ModelOptions } from "../../../src/config/model.js";
import type { TrainerOptions } from "../../../src/config/trainer.js";
import { packBatch } from "../../../src/data/index.js";
import type { Model } from "../../../src/model.js";
import type { Declared } from "../../../src/schedule/command.js";
import type { Pass } from "../../../src/schedule/facts.js";
import type { Tier } from "../../../src/memory/residence.js";
import { Trainer, type Step } from "../../../src/train/trainer.js";
import { DEVICE } from "../device.js";
import { fixtures, mezo, sameBits, sessionOf, weightBits, withModel, some } from "./helpers.js";

const folder = (name: string) => path.join(fixtures, "models", name);
const examples = Array.from({ length: 6 }, (_, i) => ({
  ids: Array.from({ length: 10 + i }, (_, t) => (i * 31 + t * 7 + t * t) % 208),
}));
/** So many that seven updates are stored together, and one is pending at the end. */
const STEPS = 9;
const method = { name: "mezo-sgd", learningRate: 1e-2, weightDecay: 0.1, schedule: { name: "linear" } } as const;

interface Outcome {
  readonly numbers: readonly number[];
  readonly evaluation: number;
  readonly weights: Uint32Array[];
}

type Options = Omit<ModelOptions, "offload"> & { readonly offload?: Partial<NonNullable<ModelOptions["offload"]>> };

const optionsOf = ({ offload, ...rest }: Options): ModelOptions => ({
  ...rest,
  offload: { unitBytes: 20_000, slots: 2, ...offload },
});

async function fit(
  model: Model,
  settings: Partial<TrainerOptions> = {},
  use?: (step: Step) => Promise<void>,
): Promise<Outcome> {
  const numbers: number[] = [];
  const trainer = new Trainer(model, { method, steps: STEPS, batchSize: 2, seed: 5, ...settings });
  for await (const step of trainer.fit(examples)) {
    numbers.push(step.lossPlus, step.lossMinus, step.projectedGradient, step.learningRate);
    await use?.(step);
  }
  const { loss } = await model.evaluate(examples.slice(0, 2));
  return { numbers, evaluation: loss, weights: await weightBits(model) };
}

function expectSame(found: Outcome, reference: Outcome): void {
  expect([found.numbers, found.evaluation]).toEqual([reference.numbers, reference.evaluation]);
  expect(sameBits(found.weights, reference.weights)).toBe(true);
}

const third = (unit: number): Tier => (unit % 3 === 1 ? "device" : "host");
const late = { delayMicroseconds: 200, delaySeed: 3, poison: true };
const ways: readonly (readonly [string, Options])[] = [
  ["with every third unit on the device", { test: { tier: third, poison: true } }],
  ["with one slot and late commands", { offload: { slots: 1 }, test: late }],
  ["without overlap", { offload: { overlap: false, slots: 3 } }],
  ["on one thread", { threads: 1, offload: { slots: 100 } }],
];

const MODELS = [
  ["llama3-scaled-bf16", "stochastic"],
  ["gpt2", "nearest"],
  ["llama3-scaled-bf16", "nearest"],
] as const;

describe.each(some(MODELS, 2))("%s, rounding %s,", (name, rounding) => {
  let reference: Outcome;
  beforeAll(async () => {
    const often = { offload: { writeBackEvery: 1, prepareAhead: "off" } } as const;
    reference = await withModel(folder(name), optionsOf({ rounding, ...often }), (model) => fit(model));
  });
  const withEvery = (every: number, options: Options = {}) =>
    optionsOf({ ...options, rounding, offload: { ...options.offload, writeBackEvery: every } });

  it.each(some([7, 2, 3], 1))("writing back every %d visits changes no bit, and stores in no other", async (every) => {
    const passes: { readonly pass: Pass; readonly commands: readonly Declared[] }[] = [];
    const onPass = (pass: Pass, commands: readonly Declared[]) => passes.push({ pass, commands });
    let trained = 0;
    const outcome = await withModel(folder(name), withEvery(every, { test: { onPass } }), (model) => {
      trained = sessionOf(model).units.filter(({ tensors }) => tensors.length > 0).length;
      return fit(model);
    });
    expectSame(outcome, reference);
    const kinds = passes.map(({ pass: { probes, pending, stores }, commands }) => {
      const taken = commands.filter(({ work }) => work.kind === "offload").length;
      return [probes.length, pending.length, stores, taken];
    });
    const pendingAt = (step: number) => (step === 0 ? 0 : ((step - 1) % every) + 1);
    const left = pendingAt(STEPS);
    expect(kinds).toEqual([
      ...Array.from({ length: STEPS }, (_, step) => {
        const stores = pendingAt(step) === every;
        return [2, pendingAt(step), stores, stores ? trained : 0];
      }),
      [1, left, false, 0],
      [0, left, true, trained],
    ]);
  });

  const prepared = [
    [7, "on"],
    [2, "off"],
    [7, "off"],
    [2, "on"],
    [1, "on"],
  ] as const;
  const pairs = some(prepared, 2).flatMap(([every, prepareAhead], p) =>
    (DEVICE === "cuda" ? [ways[p % ways.length]] : ways).map(([way, options]) => ({
      every,
      prepareAhead,
      way,
      options,
    })),
  );
  it.each(pairs)(
    "every $every visits $way, prepared ahead: $prepareAhead, changes no bit",
    async ({ every, prepareAhead, options }) => {
      const given = { ...options, offload: { ...options.offload, prepareAhead } };
      expectSame(await withModel(folder(name), withEvery(every, given), (model) => fit(model)), reference);
    },
  );
});

const [name, rounding] = MODELS[0];
const run = <T>(every: number, body: (model: Model) => Promise<T>) =>
  withModel(folder(name), optionsOf({ rounding, offload: { writeBackEvery: every } }), body);
/** A difference of whole weights would take minutes to print. */
const hashOf = (parts: readonly NodeJS.ArrayBufferView[]) =>
  parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest("hex");
const bitsOf = async (model: Model) => hashOf(await weightBits(model));
const fitted = async (...given: Parameters<typeof fit>) => {
  const { weights, ...numbers } = await fit(...given);
  return { ...numbers, weights: hashOf(weights) };
};

async function evaluated(model: Model): Promise<unknown> {
  const out = await fs.mkdtemp(path.join(os.tmpdir(), "zo2-write-back-"));
  try {
    const seen: unknown[] = [];
    const outcome = await fitted(model, {}, async ({ index }) => {
      if (index % 2 === 0) seen.push((await model.evaluate(examples.slice(0, 2))).loss);
      if (index === 2) seen.push(hashOf([await model.parameterValues(model.parameters[1].name)]));
      if (index !== 4) return;
      await model.save(path.join(out, "model"));
      seen.push(hashOf([await fs.readFile(path.join(out, "model", "model.safetensors"))]));
    });
    return [outcome, seen];
  } finally {
    await fs.rm(out, { recursive: true, force: true });
  }
}

async function frozen(model: Model): Promise<unknown> {
  const first = await fitted(model, { deferredUpdate: false, steps: 4 });
  const second = await fitted(model, { freeze: ["*norm*"], steps: 5 });
  return [first, second, await fitted(model, { freeze: ["*layers.0.*"], steps: 4 })];
}

async function left(model: Model): Promise<unknown> {
  const trainer = new Trainer(model, { method, steps: STEPS, batchSize: 2, seed: 5 });
  while (trainer.stepsTaken < STEPS) for await (const step of trainer.fit(examples)) if (step.index % 3 === 1) break;
  return bitsOf(model);
}

/** Batches that need a larger plan each. */
async function growing(model: Model): Promise<unknown> {
  const texts: unknown[] = [];
  const trainer = new Trainer(model, { method, steps: 6, batchSize: 1, seed: 5, checkData: false });
  const longer = Array.from({ length: 6 }, (_, i) => ({
    ids: Array.from({ length: 12 + 20 * i }, (_, t) => (i * 31 + t * 7) % 208),
  }));
  for await (const step of trainer.fit(longer)) {
    if (step.index % 2 === 0) continue;
    const { ids } = await model.generate({ ids: [3, 1, 4] }, { maxNewTokens: 5 }).result();
    texts.push([...ids]);
  }
  return [texts, await bitsOf(model)];
}

async function ownLosses(model: Model): Promise<unknown> {
  const numbers: number[] = [];
  for (const from of ["logits", "text"] as const) {
    const loss = (outputs: readonly unknown[]) => JSON.stringify(outputs).length / 1000;
    const objective = { ...(from === "text" ? { from, generate: { maxNewTokens: 2 } } : { from }), loss };
    const prompts = examples.map(({ ids }) => ({ ids: ids.slice(0, 6) }));
    for await (const step of new Trainer(model, { method, steps: 4, batchSize: 2, seed: 5, objective }).fit(prompts))
      numbers.push(step.lossPlus, step.lossMinus, step.projectedGradient);
  }
  return [numbers, await bitsOf(model)];
}

const failing =
  (deferredUpdate: boolean) =>
  async (model: Model): Promise<unknown> => {
    const projectedGradient = (step: number) => (step === 4 ? Number.NaN : 0.5 + step);
    const message = await fitted(model, { deferredUpdate, test: { projectedGradient } }).then(
      () => "it did not fail",
      (error: Error) => error.message,
    );
    expect(message).toContain("step 4: the projected gradient is not a finite number");
    const weights = await bitsOf(model);
    return [message, weights, await fitted(model, { steps: 3 })];
  };

/** Each step behind five that were not taken: more than there are states. */
async function discarding(model: Model): Promise<unknown> {
  const session = sessionOf(model);
  const ids = Int32Array.from(examples[0].ids);
  const batch = [packBatch([{ kind: "tokens", ids, labels: ids }])];
  const step = async (index: number) => {
    const settings = { seed: 1n, eps: 1e-3, learningRate: 1e-2, weightDecay: 0.1, noise: "gaussian" } as const;
    await (await session.step(batch, mezo({ step: index, ...settings }))).result;
  };
  for (let index = 0; index < 4; index++) {
    await step(index);
    session.commit();
    for (let i = 0; i < 5; i++) {
      await step(100 + i);
      session.discard();
    }
  }
  return bitsOf(model);
}

const uses: readonly (readonly [string, (model: Model) => Promise<unknown>])[] = [
  ["a step fails, with the next in flight, and the model is saved and trained on", failing(true)],
  ["batches need a larger plan each, and text is generated between steps", growing],
  ["a step fails, none in flight", failing(false)],
  ["weights are evaluated, read and saved between steps, with the next in flight", evaluated],
  ["updates are applied at once, and then other parameters are frozen in each fit", frozen],
  ["the loop is left after some steps, and gone on with", left],
  ["losses are computed by the caller, from logits and from text", ownLosses],
  ["steps are discarded", discarding],
];

it.each(some(uses, 2))("every 7 visits changes nothing where %s", async (_, use) => {
  expect(await run(7, use)).toEqual(await run(1, use));
});

it("a rhythm that is too long is refused", async () => {
  await expect(run(65, async () => undefined)).rejects.toMatchObject({
    code: "ZO2_ERR_CONFIG",
    message: expect.stringContaining('option "offload.writeBackEvery" is 65; must be at most 64'),
  });
});
