/**
 * A prefix over a base that stays: held against PEFT, against the base that reads the prefix's tokens itself, and
 * against itself however the base is cut and wherever it rests.
 */
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { loadAdapter } from "../../../src/adapters/load.js";
import { keyName, valueName } from "../../../src/adapters/prefix.js";
import { prefixTokens } from "../../../src/adapters/prefix-values.js";
import { storedValues, ZEROS } from "../../../src/adapters/values.js";
import type { ModelOptions } from "../../../src/config/model.js";
import type { TrainerOptions } from "../../../src/config/trainer.js";
import { type EncodedExample, packBatch } from "../../../src/data/index.js";
import { loadedOf } from "../../../src/loaded.js";
import type { Model } from "../../../src/model.js";
import { canonicalLength } from "../../../src/ops/parameter.js";
import type { Declared } from "../../../src/schedule/command.js";
import type { Pass } from "../../../src/schedule/facts.js";
import { Trainer } from "../../../src/train/trainer.js";
import {
  batchLoss,
  fixtures,
  readTensors,
  sameBits,
  sessionOf,
  some,
  takeStep,
  weightBits,
  withModel,
} from "./helpers.js";
import { examples, expectTakenUp, folder, OPTIONS, train as trainRun } from "./runs.js";

const TOKENS = 4;
const PREFIX = { name: "prefix", tokens: TOKENS, seed: 3 } as const;
const STEPS = 5;
const method = { name: "mezo-sgd", learningRate: 1e-2, eps: 1e-1 } as const;
const isOwn = ({ adapter }: { readonly adapter?: true }) => adapter === true;

let work: string;
beforeEach(async () => {
  work = await fs.mkdtemp(path.join(os.tmpdir(), "zo2-prefix-"));
});
afterEach(() => fs.rm(work, { recursive: true, force: true }));

/** Puts other keys and values in the place of those of a model that was just loaded. */
async function put(model: Model, values: ReadonlyMap<string, Float32Array>): Promise<void> {
  const valuesOf = ({ name, shape }: { readonly name: string; readonly shape: readonly number[] }) => {
    const own = values.get(name);
    return own === undefined ? ZEROS : storedValues({ dtype: "F32", shape, bytes: new Uint8Array(own.buffer) });
  };
  await loadAdapter(sessionOf(model), { name: "a test's", values: valuesOf }, undefined);
}

/** Largest difference, of the largest magnitude. */
function furthest(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  const most = a.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
  return a.reduce((m, v, i) => Math.max(m, Math.abs(v - (b[i] ?? NaN))), 0) / most;
}

async function greedy(model: Model, prompts: readonly (readonly number[])[], count: number): Promise<number[][]> {
  const all: number[][] = [];
  const inputs = prompts.map((ids) => ({ ids: [...ids] }));
  for await (const { ids } of model.generateAll(inputs, { maxNewTokens: count, ignoreEos: true })) all.push(ids);
  return all;
}

describe.each([
  ["prefix-opt", "opt", 5],
  ["prefix-llama", "llama", 3],
  ["prefix-qwen3", "qwen3-bf16", 5],
] as const)("%s as PEFT saves it", (name, base, tokens) => {
  const dir = path.join(fixtures, "adapters", name);
  const options = { adapter: { name: "prefix", tokens } } as const;
  let values: Map<string, Float32Array>;
  let inputs: number[][];
  let logits: Float32Array;
  let continuations: number[][];

  beforeAll(async () => {
    const stored = (await readTensors(dir, "adapter_model.safetensors")).get("prompt_embeddings");
    const expected = await readTensors(dir, "expected.safetensors");
    const [rows = 0, columns = 0] = stored?.shape ?? [];
    expect(rows).toBe(tokens);
    const { num_layers: layers, token_dim: width } = JSON.parse(
      await fs.readFile(path.join(dir, "adapter_config.json"), "utf8"),
    );
    expect(columns).toBe(layers * 2 * width);
    // [tokens, layers x (keys, values) x width]
    const part = (slot: number) =>
      Float32Array.from({ length: rows * width }, (_, i) =>
        Number(stored?.values[Math.floor(i / width) * columns + slot * width + (i % width)]),
      );
    values = new Map();
    for (let i = 0; i < layers; i++) values.set(keyName(i), part(2 * i)).set(valueName(i), part(2 * i + 1));
    const table = (of: string) => {
      const found = expected.get(of);
      const [count = 0, length = 0] = found?.shape ?? [];
      return Array.from({ length: count }, (_, r) =>
        Array.from({ length }, (_c, c) => Number(found?.values[r * length + c])),
      );
    };
    inputs = table("input_ids");
    logits = expected.get("logits")?.values as Float32Array;
    continuations = table("greedy").map((row) => row.slice(inputs[0].length));
  });

  it.each([{}, { unitBytes: 20_000, slots: 1 }])("has its logits (%j)", async (offload) => {
    await withModel(folder(base), { ...options, offload }, async (model) => {
      await put(model, values);
      const each = logits.length / inputs.length;
      for (const [row, ids] of inputs.entries())
        expect(furthest(logits.subarray(row * each, (row + 1) * each), await model.logits(ids))).toBeLessThan(1e-4);
    });
  });

  it("goes on as it does", async () => {
    await withModel(folder(base), options, async (model) => {
      await put(model, values);
      expect(await greedy(model, inputs, 8)).toEqual(continuations);
      expect(await greedy(model, inputs.slice(1), 8)).toEqual(continuations.slice(1));
    });
  });
});

const BASES = ["opt", "gpt2", "llama", "mistral-window", "qwen2-bf16", "opt-350m-style-bin"];

describe.each(some(BASES, 2))("a new prefix over %s is as tokens in front of every sequence", (name) => {
  // Longer than the window of mistral-window.
  const ids = Array.from({ length: 21 }, (_, t) => (t * 37 + t * t) % 208);
  const adapted = { adapter: PREFIX, offload: { unitBytes: 20_000 } };
  const fronted = (model: Model, own: readonly number[]) => [
    ...prefixTokens(PREFIX.seed, TOKENS, model.vocabSize),
    ...own,
  ];
  const tokens = (own: readonly number[]): EncodedExample => ({
    ...{ kind: "tokens", ids: Int32Array.from(own) },
    labels: Int32Array.from(own, (id, t) => (t < own.length - 5 ? -100 : id)),
  });
  const choices = (all: readonly (readonly number[])[], from: number): EncodedExample => ({
    ...{ kind: "choices", choices: all.map((own) => ({ ids: Int32Array.from(own), from })), label: 1 },
  });

  it("in logits and continuations", async () => {
    const [logits, continued] = await withModel(folder(name), {}, async (model) => {
      const all = await model.logits(fronted(model, ids));
      const prompts = [ids, ids.slice(0, 3)].map((own) => fronted(model, own));
      return [all.subarray(TOKENS * model.vocabSize), await greedy(model, prompts, 12)] as const;
    });
    await withModel(folder(name), adapted, async (model) => {
      expect(furthest(logits, await model.logits(ids))).toBeLessThan(1e-5);
      expect(await greedy(model, [ids, ids.slice(0, 3)], 12)).toEqual(continued);
    });
  });

  it("in log-probabilities of texts, and of choices that share a prompt", async () => {
    const texts = [ids, ids.slice(4, 12)];
    const shared = ids.slice(0, 9);
    const ends = [[11, 12], [13], [11, 5, 6, 7]].map((end) => [...shared, ...end]);
    const batches = (front: (own: readonly number[]) => readonly number[], shift: number) => [
      packBatch(texts.map((own) => tokens(front(own)))),
      packBatch([choices(ends.map(front), shared.length + shift), choices(ends.slice(0, 2).map(front), 4 + shift)]),
    ];
    const logprobs = (options: ModelOptions, front: (model: Model, own: readonly number[]) => readonly number[]) =>
      withModel(folder(name), options, (model) =>
        sessionOf(model).forward(batches((own) => front(model, own), front(model, []).length)),
      );
    const [base, own] = [await logprobs({}, fronted), await logprobs(adapted, (_, all) => all)];
    for (const [i, values] of base.entries()) expect(furthest(values, own[i])).toBeLessThan(1e-5);
  });
});

it("other heads read sequences behind a prefix, too", async () => {
  const ids = examples[3].ids;
  for (const name of ["opt-classify", "opt-qa"]) {
    const example: EncodedExample =
      name === "opt-qa"
        ? { kind: "span", ids: Int32Array.from(ids), start: 1, end: 2 }
        : { kind: "labelled", ids: Int32Array.from(ids), labels: [0], problem: "regression" };
    const last = await withModel(folder(name), {}, async (model) => {
      const front = prefixTokens(PREFIX.seed, TOKENS, model.vocabSize);
      const all = Int32Array.from([...front, ...ids]);
      const [logits] = await sessionOf(model).forward([packBatch([{ ...example, ids: all }])], { output: "logits" });
      return logits.subarray(-2);
    });
    await withModel(folder(name), { adapter: PREFIX }, async (model) => {
      const [logits] = await sessionOf(model).forward([packBatch([example])], { output: "logits" });
      expect(furthest(last, logits.subarray(-2))).toBeLessThan(1e-5);
    });
  }
});

it.each(some(["bf16", "fp16"] as const, 1))("is the same in %s, as far as that goes", async (dtype) => {
  const ids = examples[3].ids;
  const logitsIn = (options: ModelOptions) =>
    withModel(folder("llama"), { adapter: PREFIX, ...options }, (model) => model.logits(ids));
  const [exact, rounded] = [await logitsIn({}), await logitsIn({ dtype })];
  expect(furthest(exact, rounded)).toBeLessThan(dtype === "bf16" ? 0.05 : 0.01);
});

/** Trains the prefix of a model that was just loaded. */
async function fit(model: Model, more: Partial<TrainerOptions> = {}): Promise<number[]> {
  const numbers: number[] = [];
  const trainer = new Trainer(model, { method, steps: STEPS, batchSize: 2, seed: 11, ...more });
  for await (const step of trainer.fit(examples)) numbers.push(step.loss, ...step.coefficients);
  return numbers;
}

describe("the training of a prefix", () => {
  const cut = { unitBytes: 20_000, slots: 2 } as const;
  const outcome = (name: string, options: ModelOptions) =>
    withModel(folder(name), { adapter: PREFIX, ...options }, async (model) => ({
      numbers: await fit(model),
      weights: await weightBits(model),
      logits: await model.logits(examples[3].ids),
    }));

  it.each(some(["gpt2", "llama"], 1))("is the same wherever the base of %s rests", async (name) => {
    const reference = await outcome(name, { offload: cut });
    const others: ModelOptions[] = [
      { offload: { to: "device", unitBytes: cut.unitBytes } },
      { offload: cut, test: { poison: true, delayMicroseconds: 100 } },
      { offload: { ...cut, activations: "host" } },
      { offload: { ...cut, slots: 3, prepareAhead: "on", overlap: false } },
      { offload: { to: "disk", diskPath: work, unitBytes: cut.unitBytes } },
      { offload: { ...cut, writeBackEvery: 3 } },
    ];
    for (const options of some(others, 2)) {
      const other = await outcome(name, options);
      expect(other.numbers).toEqual(reference.numbers);
      expect(sameBits(other.weights, reference.weights)).toBe(true);
      expect(other.logits).toEqual(reference.logits);
    }
  });

  it("brings the base once a step, takes nothing of it back, and changes the prefix alone", async () => {
    const passes: (readonly [Pass, readonly Declared[]])[] = [];
    const onPass = (pass: Pass, commands: readonly Declared[]) => passes.push([pass, commands]);
    await withModel(folder("llama"), { adapter: PREFIX, offload: cut, test: { onPass } }, async (model) => {
      const before = await weightBits(model);
      await fit(model);
      const after = await weightBits(model);
      const changed = model.parameters.filter((_, i) => !sameBits([before[i]], [after[i]]));
      expect(changed).toEqual(model.parameters.filter(isOwn));
      expect(changed.map(({ name }) => name)).toEqual([0, 1].flatMap((i) => [keyName(i), valueName(i)]));
      const { units } = sessionOf(model);
      const ofBase = units.filter(({ tensors }) => !tensors.some(({ parameter }) => isOwn(parameter)));
      const steps = passes.filter(([pass]) => pass.state !== null);
      expect(steps).toHaveLength(STEPS);
      for (const [, commands] of steps) {
        const moved = (kind: "upload" | "offload") =>
          commands.flatMap(({ work: w }) => (w.kind === kind && w.what === "weights" ? [w.unit] : []));
        expect(moved("upload")).toEqual(ofBase.filter(({ wireBytes }) => wireBytes > 0).map(({ index }) => index));
        expect(moved("offload")).toEqual([]);
      }
    });
  });

  it("finds the slope that the loss has", async () => {
    const load = { offload: { wire: "fp32" }, adapter: PREFIX } as const;
    const eps = 1e-2;
    const labelled = examples.map(({ ids }) => ({
      ...{ kind: "tokens" as const, ids: Int32Array.from(ids) },
      labels: Int32Array.from([-100, ...ids.slice(1)]),
    }));
    const batch = packBatch(labelled);
    const [values, z, found] = await withModel(folder("opt"), load, async (model) => {
      const { parameters } = loadedOf(model);
      const own = parameters.filter(isOwn);
      const first = new Map<string, Float32Array>();
      const direction = new Float32Array(canonicalLength(parameters));
      const along = new Map<string, Float32Array>();
      for (const { name, canonical, count } of own) {
        first.set(name, await model.parameterValues(name));
        for (let i = 0; i < count; i++) direction[canonical + i] = Math.sin(canonical + 3 * i);
        along.set(name, direction.subarray(canonical, canonical + count));
      }
      const step = { seed: 1n, step: 0, noise: { z: direction }, eps, learningRate: 0, weightDecay: 0 };
      const { projectedGradient } = await takeStep(model, [batch], step);
      sessionOf(model).discard();
      return [first, along, projectedGradient ?? 0] as const;
    });
    const lossAt = (sign: number) =>
      withModel(folder("opt"), load, async (model) => {
        const there = new Map(
          [...values].map(([name, own]) => [name, own.map((v, i) => v + sign * eps * (z.get(name)?.[i] ?? 0))]),
        );
        await put(model, there);
        return batchLoss(model, batch);
      });
    const slope = ((await lossAt(1)) - (await lossAt(-1))) / (2 * eps);
    expect(Math.abs(slope)).toBeGreaterThan(0.01);
    expect(Math.abs(found - slope)).toBeLessThan(1e-3 * Math.abs(slope));
  });
});

it("an objective over text reads what the moved prefix goes on with", async () => {
  const prompts = examples.slice(0, 2).map(({ ids }) => ids);
  const written = (eps: number, offload: ModelOptions["offload"]) =>
    withModel(folder("llama"), { adapter: PREFIX, offload }, async (model) => {
      const before = await greedy(model, prompts, 6);
      const texts: (readonly (readonly number[])[])[] = [];
      const trainer = new Trainer(model, {
        ...{ method: { name: "mezo-sgd", learningRate: 1e-3, eps }, steps: 1, batchSize: 2, seed: 7 },
        objective: {
          ...{ from: "text", generate: { maxNewTokens: 6, ignoreEos: true } },
          loss: (outputs: readonly { readonly generated: readonly number[] }[]) => {
            texts.push(outputs.map(({ generated }) => generated));
            return 1;
          },
        },
      });
      for await (const _ of trainer.fit(prompts.map((ids) => ({ ids })))) expect(texts).toHaveLength(2);
      return { before, texts };
    });
  const near = await written(1e-6, { unitBytes: 20_000 });
  for (const text of near.texts) expect([...text].sort()).toEqual([...near.before].sort());
  const far = await written(3, { unitBytes: 20_000 });
  expect(far.texts[0]).not.toEqual(far.texts[1]);
  expect(await written(3, { to: "device", unitBytes: 20_000 })).toEqual(far);
});

describe("a run of a prefix", () => {
  const model: ModelOptions = { adapter: PREFIX, offload: { unitBytes: 20_000 } };
  const options: TrainerOptions = { ...OPTIONS, method, steps: 8 };

  it("goes on where it was left, and is replayed, to the bits of one that nobody interrupted", () =>
    expectTakenUp(path.join(work, "run"), "llama", model, options));

  it("is refused on other first values", async () => {
    const run = path.join(work, "run");
    await trainRun(run, "llama", model, { ...options, run }, 2);
    await expect(
      withModel(folder("llama"), { adapter: { ...PREFIX, seed: 4 }, journals: [run] }, weightBits),
    ).rejects.toMatchObject({ code: "ZO2_ERR_JOURNAL" });
  });
});

test("a sequence has as many positions less, and a prefix that leaves none is refused", async () => {
  await withModel(folder("opt"), {}, async (base) => {
    const { maxPositions } = base;
    await withModel(folder("opt"), { adapter: PREFIX }, async (model) => {
      expect(model.maxPositions).toBe(maxPositions - TOKENS);
      const ids = Array.from({ length: maxPositions - TOKENS }, (_, i) => i % 100);
      expect(await model.logits(ids)).toHaveLength(ids.length * model.vocabSize);
    });
    const adapter = { name: "prefix", tokens: maxPositions - 1 } as const;
    await expect(withModel(folder("opt"), { adapter }, weightBits)).rejects.toMatchObject({
      code: "ZO2_ERR_CONFIG",
      message: expect.stringContaining(`take at most ${maxPositions - 2}`),
    });
  });
});
