/**
 * LoRA over a base that stays: held against models whose weights were merged in double precision, and against itself
 * however the base is cut and wherever it rests.
 */
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { ModelOptions } from "../../../src/config/model.js";
import type { TrainerOptions } from "../../../src/config/trainer.js";
import { writeCheckpoint } from "../../../src/checkpoint/index.js";
import { packBatch } from "../../../src/data/index.js";
import { loadedOf } from "../../../src/loaded.js";
import { isDirect } from "../../../src/memory/units.js";
import type { Model } from "../../../src/model.js";
import { canonicalLength } from "../../../src/ops/parameter.js";
import type { Declared } from "../../../src/schedule/command.js";
import type { Pass } from "../../../src/schedule/facts.js";
import { Trainer } from "../../../src/train/trainer.js";
import { batchLoss, sameBits, sessionOf, some, takeStep, weightBits, withModel } from "./helpers.js";
import { examples, expectTakenUp, folder, OPTIONS, train as trainRun } from "./runs.js";

const LORA = { name: "lora", rank: 4, alpha: 6, seed: 3 } as const;
const ALL = { ...LORA, targets: ["all-linear"] } as const;
const STEPS = 5;
const method = { name: "mezo-sgd", learningRate: 2e-3, eps: 1e-2 } as const;
const SCALE = LORA.alpha / LORA.rank;
const ids = examples[3].ids;

let work: string;
beforeEach(async () => {
  work = await fs.mkdtemp(path.join(os.tmpdir(), "zo2-lora-"));
});
afterEach(() => fs.rm(work, { recursive: true, force: true }));

/** Trains the adapter of a model that was just loaded. */
async function fit(model: Model, more: Partial<TrainerOptions> = {}): Promise<number[]> {
  const numbers: number[] = [];
  const trainer = new Trainer(model, { method, steps: STEPS, batchSize: 2, seed: 11, ...more });
  for await (const step of trainer.fit(examples)) numbers.push(step.loss, ...step.coefficients);
  return numbers;
}

const isOwn = ({ adapter }: { readonly adapter?: true }) => adapter === true;

/** By name, in double precision. */
async function valuesOf(model: Model): Promise<Map<string, Float64Array>> {
  const values = new Map<string, Float64Array>();
  for (const { name } of model.parameters) values.set(name, Float64Array.from(await model.parameterValues(name)));
  return values;
}

/** W + scale B A, of Conv1D weights transposed; `moved` is added to A and B first. */
function merge(model: Model, values: ReadonlyMap<string, Float64Array>, moved = new Map<string, Float64Array>()) {
  const plus = (name: string) =>
    (values.get(name) ?? new Float64Array()).map((v, i) => v + (moved.get(name)?.[i] ?? 0));
  const merged = new Map(values);
  for (const { name, shape } of model.parameters) {
    const module = name.replace(/\.weight$/, "");
    const a = plus(`${module}.lora_A.weight`);
    const b = plus(`${module}.lora_B.weight`);
    if (a.length === 0) continue;
    const [rows, columns] = shape;
    const inputs = a.length / LORA.rank;
    const isTransposed = /\.h\.\d+\./.test(name);
    const base = values.get(name) ?? new Float64Array();
    merged.set(
      name,
      base.map((w, i) => {
        const [row, column] = [Math.floor(i / columns), i % columns];
        const [out, into] = isTransposed ? [column, row] : [row, column];
        let sum = 0;
        for (let r = 0; r < LORA.rank; r++) sum += b[out * LORA.rank + r] * a[r * inputs + into];
        return w + SCALE * sum;
      }),
    );
    expect(rows * columns).toBe(base.length);
  }
  return merged;
}

/** A folder of the base with these values, in fp32. */
async function write(name: string, model: Model, values: ReadonlyMap<string, Float64Array>): Promise<string> {
  const dir = path.join(work, name);
  await writeCheckpoint(dir, {
    config: model.config,
    tensors: model.parameters
      .filter((parameter) => !isOwn(parameter))
      .map(({ name: tensor, shape, count }) => {
        const bytes = new Uint8Array(Float32Array.from(values.get(tensor) ?? []).buffer);
        const read = (offset: number, into: Uint8Array) =>
          Promise.resolve(into.set(bytes.subarray(offset, offset + into.byteLength)));
        return { name: tensor, dtype: "F32" as const, shape, bytes: 4 * count, read };
      }),
  });
  return dir;
}

const logitsOf = (dir: string, options: ModelOptions = {}) => withModel(dir, options, (model) => model.logits(ids));

function furthest(a: Float32Array, b: Float32Array): number {
  const most = a.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
  return a.reduce((m, v, i) => Math.max(m, Math.abs(v - b[i])), 0) / most;
}

describe.each(some(["opt", "gpt2", "qwen3-bf16", "opt-350m-style-bin"], 2))("a LoRA over %s", (name) => {
  it.each(some(["fp32", "bf16", "fp16"] as const, 2))("changes nothing at first (%s)", async (dtype) => {
    for (const offload of some([{}, { unitBytes: 4_000 }, { to: "device" }] as const, 2)) {
      const base = await logitsOf(folder(name), { dtype, offload });
      expect(await logitsOf(folder(name), { dtype, offload, adapter: ALL })).toEqual(base);
    }
  });

  it.each([LORA, ALL])("is the model whose weights were merged (%j)", async (adapter) => {
    await withModel(folder(name), { offload: { wire: "fp32" }, adapter }, async (model) => {
      await fit(model);
      const values = await valuesOf(model);
      const dir = await write("merged", model, merge(model, values));
      const [own, merged] = [await model.logits(ids), await logitsOf(dir)];
      expect(furthest(merged, own)).toBeLessThan(1e-5);
      // Over a cache, row by row.
      const go = { maxNewTokens: 8, ignoreEos: true };
      const continued = (of: Model) => of.generate({ ids: ids.slice(0, 6) }, go).result();
      expect((await withModel(dir, {}, continued)).ids).toEqual((await continued(model)).ids);
      // It has gone somewhere.
      expect(furthest(await logitsOf(folder(name), { offload: { wire: "fp32" } }), own)).toBeGreaterThan(1e-3);
    });
  });

  it.each(["bf16", "fp16"] as const)("is the same in %s, as far as that goes", async (dtype) => {
    await withModel(folder(name), { offload: { wire: "fp32" }, adapter: ALL, dtype }, async (model) => {
      await fit(model);
      const dir = await write("merged", model, merge(model, await valuesOf(model)));
      expect(furthest(await logitsOf(dir), await model.logits(ids))).toBeLessThan(dtype === "bf16" ? 0.05 : 0.01);
    });
  });
});

describe("the training of a LoRA", () => {
  const cut = { unitBytes: 20_000, slots: 2 } as const;
  const outcome = (name: string, options: ModelOptions, more: Partial<TrainerOptions> = {}) =>
    withModel(folder(name), { adapter: ALL, ...options }, async (model) => ({
      numbers: await fit(model, more),
      weights: await weightBits(model),
      logits: await model.logits(ids),
    }));

  it.each(some(["gpt2", "llama"], 1))("is the same however the base of %s rests and is cut", async (name) => {
    const reference = await outcome(name, { offload: cut });
    const others: ModelOptions[] = [
      { offload: { ...cut, overlap: false } },
      { offload: { ...cut, writeBackEvery: 3 } },
      { offload: { ...cut, slots: 3, prepareAhead: "on" } },
      { offload: { to: "device", unitBytes: cut.unitBytes } },
      { offload: { unitBytes: 60_000 } },
      { offload: { to: "auto", deviceMemory: "3MiB" } },
      { offload: { to: "disk", diskPath: work, unitBytes: cut.unitBytes } },
      { offload: cut, test: { poison: true, delayMicroseconds: 100 } },
    ];
    for (const options of some(others, 3)) {
      const other = await outcome(name, options);
      // The head's own cut has a part in the last bits of a loss.
      if (options.offload?.unitBytes === cut.unitBytes) expect(other.numbers).toEqual(reference.numbers);
      if (options.offload?.unitBytes === cut.unitBytes) expect(sameBits(other.weights, reference.weights)).toBe(true);
      for (const [i, number] of other.numbers.entries())
        expect(Math.abs(number - reference.numbers[i])).toBeLessThan(1e-3 * (1 + Math.abs(number)));
    }
  });

  it("brings the base once a step, and takes nothing of it back", async () => {
    const passes: (readonly [Pass, readonly Declared[]])[] = [];
    const onPass = (pass: Pass, commands: readonly Declared[]) => passes.push([pass, commands]);
    await withModel(folder("llama"), { adapter: LORA, offload: cut, test: { onPass } }, async (model) => {
      await fit(model);
      const { units, plan } = sessionOf(model);
      const own = units.filter(({ tensors }) => tensors.some(({ parameter }) => isOwn(parameter)));
      expect(own.length).toBeGreaterThan(1);
      for (const unit of own) {
        expect(unit.tensors.every(({ parameter, wire }) => isOwn(parameter) && wire === "fp32")).toBe(true);
        expect(plan?.options.residences[unit.index]).toEqual({
          ...{ rest: "device", moves: false, changes: true, scratch: false },
        });
      }
      const others = units.filter((unit) => !own.includes(unit)).map(({ index }) => index);
      const steps = passes.filter(([pass]) => pass.state !== null);
      expect(steps).toHaveLength(STEPS);
      for (const [, commands] of steps) {
        const moved = (kind: "upload" | "offload") =>
          commands.flatMap(({ work: w }) => (w.kind === kind && w.what === "weights" ? [w.unit] : []));
        expect(moved("upload")).toEqual(others.filter((unit) => units[unit].wireBytes > 0));
        expect(moved("offload")).toEqual([]);
        const prepared = commands.flatMap(({ work: w }) => (w.kind === "prepare" ? [w.unit] : []));
        // fp32 at rest and in products: the base is read as it is.
        expect(prepared).toEqual(own.map(({ index }) => index));
        expect(units.filter((unit) => others.includes(unit.index)).every(isDirect)).toBe(true);
      }
    });
  });

  it("leaves a base on disk in the checkpoint's own files", async () => {
    const offload = { ...cut, to: "disk", diskPath: work } as const;
    await withModel(folder("llama"), { adapter: ALL, offload }, async (model) => {
      const whole = model.plan().inPlaceBytes;
      await fit(model);
      const { diskBytes, inPlaceBytes, units } = model.plan();
      expect([diskBytes, inPlaceBytes]).toEqual([0, whole]);
      expect(whole).toBeGreaterThan(100_000);
      expect(new Set(units.map(({ tier }) => tier))).toEqual(new Set(["disk", "device"]));
    });
  });

  it.each(some(["int8", "e4m3", "bf16"] as const, 1))("leaves a base in %s as it is", async (wire) => {
    await withModel(folder("llama"), { adapter: ALL, offload: { ...cut, wire } }, async (model) => {
      const before = await weightBits(model);
      await fit(model);
      const after = await weightBits(model);
      const changed = model.parameters.filter((_, i) => !sameBits([before[i]], [after[i]]));
      expect(changed).toEqual(model.parameters.filter(isOwn));
    });
  });

  it("freezes some of its own", async () => {
    await withModel(folder("opt"), { adapter: LORA, offload: cut }, async (model) => {
      const before = await weightBits(model);
      await fit(model, { freeze: ["*.0.self_attn.*lora*", "*lora_A*"] });
      const after = await weightBits(model);
      const changed = model.parameters.filter((_, i) => !sameBits([before[i]], [after[i]])).map(({ name }) => name);
      expect(changed).toEqual([
        "model.decoder.layers.1.self_attn.v_proj.lora_B.weight",
        "model.decoder.layers.1.self_attn.q_proj.lora_B.weight",
      ]);
      expect(() => new Trainer(model, { ...OPTIONS, freeze: ["*lora*"] })).toThrow(/all 8 parameters of the adapter/);
    });
  });

  it.each(
    some(
      [
        { name: "fzoo", directions: 4, learningRate: 1e-4 },
        { name: "es", directions: 3, antithetic: true, learningRate: 1e-2 },
      ] as const,
      1,
    ),
  )("goes by any method (%j)", async (other) => {
    const [streamed, resident] = [
      await outcome("gpt2", { offload: cut }, { method: other }),
      await outcome("gpt2", { offload: { ...cut, to: "device" } }, { method: other }),
    ];
    expect(resident).toEqual(streamed);
    expect(new Set(streamed.numbers).size).toBeGreaterThan(STEPS);
  });

  it("finds the slope that merged models have", async () => {
    await withModel(folder("opt"), { offload: { wire: "fp32" }, adapter: ALL }, async (model) => {
      await fit(model, { steps: 2 });
      const values = await valuesOf(model);
      const { parameters } = loadedOf(model);
      const z = new Float32Array(canonicalLength(parameters));
      const moved = new Map<string, Float64Array>();
      const eps = 1e-3;
      for (const { name, canonical, count } of parameters.filter(isOwn)) {
        for (let i = 0; i < count; i++) z[canonical + i] = Math.sin(canonical + 3 * i);
        moved.set(
          name,
          Float64Array.from(z.subarray(canonical, canonical + count), (v) => eps * v),
        );
      }
      const batch = packBatch(examples.map((example) => ({ kind: "tokens", ...labelled(example.ids) })));
      const step = { seed: 1n, step: 0, noise: { z }, eps, learningRate: 0, weightDecay: 0 };
      const { projectedGradient } = await takeStep(model, [batch], step);
      sessionOf(model).discard();
      const lossAt = async (sign: number) => {
        const there = new Map([...moved].map(([name, by]) => [name, by.map((v) => sign * v)]));
        const dir = await write(`at${sign}`, model, merge(model, values, there));
        return withModel(dir, {}, (merged) => batchLoss(merged, batch));
      };
      const slope = ((await lossAt(1)) - (await lossAt(-1))) / (2 * eps);
      expect(Math.abs(slope)).toBeGreaterThan(0.05);
      expect(Math.abs((projectedGradient ?? 0) - slope)).toBeLessThan(1e-3 * Math.abs(slope));
    });
  });
});

function labelled(all: readonly number[]) {
  return { ids: Int32Array.from(all), labels: Int32Array.from([-100, ...all.slice(1)]) };
}

describe("a run of a LoRA", () => {
  const model: ModelOptions = { adapter: ALL, offload: { unitBytes: 20_000 } };
  const options: TrainerOptions = { ...OPTIONS, method, steps: 8 };

  it("goes on where it was left, and is replayed, to the bits of one that nobody interrupted", () =>
    expectTakenUp(path.join(work, "run"), "gpt2", model, options));

  it("is refused on other first values, and on the base alone", async () => {
    const run = path.join(work, "run");
    await trainRun(run, "gpt2", model, { ...options, run }, 2);
    for (const adapter of [undefined, { ...ALL, seed: 4 }, { ...ALL, rank: 2 }])
      await expect(withModel(folder("gpt2"), { adapter, journals: [run] }, weightBits)).rejects.toMatchObject({
        code: "ZO2_ERR_JOURNAL",
        message: expect.stringMatching(/load with option "adapter" = /),
      });
    const plain = path.join(work, "plain");
    await trainRun(plain, "gpt2", {}, { ...OPTIONS, run: plain }, 2);
    await expect(withModel(folder("gpt2"), { ...model, journals: [plain] }, weightBits)).rejects.toMatchObject({
      ...{ code: "ZO2_ERR_JOURNAL", message: expect.stringMatching(/load without option "adapter"/) },
    });
  });
});

test("targets that match nothing are refused, naming what there is", async () => {
  const adapter = { ...LORA, targets: ["q_proj", "query"] };
  await expect(withModel(folder("opt"), { adapter }, weightBits)).rejects.toMatchObject({
    code: "ZO2_ERR_CONFIG",
    message: expect.stringMatching(/"query" matches no linear layer.*k_proj, v_proj, q_proj, out_proj, fc1, fc2/),
  });
});
