/**
 * Weights that rest in blocks of 8 bits with scales: the same bits wherever they rest and however they are cut, saved,
 * resumed and replayed; and what the definition says of each, by a reference in double precision.
 */
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { ModelOptions } from "../../../src/config/model.js";
import type { TrainerOptions } from "../../../src/config/trainer.js";
import { packBatch } from "../../../src/data/index.js";
import { canonicalLength } from "../../../src/ops/parameter.js";
import { Trainer } from "../../../src/train/trainer.js";
import { sameBits, some, takeSteps, weightBits, withModel } from "./helpers.js";
import * as RUNS from "./runs.js";

const { folder, examples } = RUNS;
const WIRES = ["int8", "e4m3"] as const;
type Wire = (typeof WIRES)[number];

const unitBytes = 20_000;
const options = (wire: Wire, o: Partial<NonNullable<ModelOptions["offload"]>> = {}, rest: Partial<ModelOptions> = {}) =>
  ({ ...rest, offload: { wire, unitBytes, ...o } }) satisfies ModelOptions;

interface Outcome {
  readonly numbers: readonly number[];
  readonly weights: readonly Uint32Array[];
  readonly evaluation: number;
}

/** @param g the coefficient of every step, in the place of those of the losses. */
function train(name: string, model: ModelOptions, g?: number, trainer: Partial<TrainerOptions> = {}): Promise<Outcome> {
  return withModel(folder(name), model, async (loaded) => {
    const test = g === undefined ? undefined : { projectedGradient: () => g };
    const numbers: number[] = [];
    for await (const step of new Trainer(loaded, { ...RUNS.OPTIONS, ...trainer, test }).fit(examples))
      numbers.push(step.lossPlus, step.lossMinus, step.projectedGradient);
    const { loss } = await loaded.evaluate(examples);
    return { numbers, weights: await weightBits(loaded), evaluation: loss };
  });
}

function expectSame(a: Outcome, b: Outcome): void {
  expect(b.numbers).toEqual(a.numbers);
  expect(b.evaluation).toBe(a.evaluation);
  expect(sameBits(a.weights, b.weights)).toBe(true);
}

/** Tied embeddings, of OPT and of GPT-2; one that is not tied. */
const MODELS = ["gpt2", "opt", "llama3-scaled-bf16"] as const;
const CASES = some(
  MODELS.flatMap((name) => WIRES.map((wire) => [wire, name] as const)),
  2,
);

describe.each(CASES)("%s, %s", (wire, name) => {
  let streamed: Outcome;
  beforeAll(async () => {
    streamed = await train(name, options(wire));
  });

  it("moves the weights", async () => {
    expect(sameBits(await withModel(folder(name), options(wire), weightBits), streamed.weights)).toBe(false);
  });

  it("streamed, resident and on mixed tiers is the same", async () => {
    expectSame(streamed, await train(name, options(wire, { to: "device" })));
    const tier = (unit: number) => (unit % 2 === 0 ? "device" : "host");
    expectSame(streamed, await train(name, options(wire, {}, { test: { tier, poison: true } })));
  });

  it("on disk, and from there on other tiers, is the same", async () => {
    const diskPath = await fs.mkdtemp(path.join(os.tmpdir(), "zo2-blocks-"));
    try {
      expectSame(streamed, await train(name, options(wire, { to: "disk", diskPath })));
      const tier = (unit: number) => (["disk", "host", "device"] as const)[unit % 3] ?? "disk";
      const mixed = { to: "disk", diskPath, writeBackEvery: 3 } as const;
      expectSame(streamed, await train(name, options(wire, mixed, { test: { tier, poison: true } })));
    } finally {
      await fs.rm(diskPath, { recursive: true, force: true });
    }
  });

  it("with other slots, without overlap, prepared ahead or written back rarely is the same", async () => {
    expectSame(streamed, await train(name, options(wire, { slots: 1 }, { test: { poison: true } })));
    expectSame(streamed, await train(name, options(wire, { overlap: false, prepareAhead: "off" })));
    expectSame(streamed, await train(name, options(wire, { writeBackEvery: 5, prepareAhead: "on" })));
    expectSame(streamed, await train(name, options(wire), undefined, { deferredUpdate: false }));
  });

  it("in other units has the same weights", async () => {
    const whole = await train(name, options(wire), 1.5);
    for (const bytes of [3_000, 7_001, 1_000_000]) {
      const cut = await train(name, options(wire, { unitBytes: bytes }), 1.5);
      expect(sameBits(cut.weights, whole.weights)).toBe(true);
    }
  });

  it("is stored as bf16 without losing a bit, and goes on from there as if it had stayed", async () => {
    const dir = await fs.mkdtemp(path.join(os.tmpdir(), "zo2-blocks-"));
    const ids = examples[0]?.ids ?? [];
    const batch = packBatch([{ kind: "tokens", ids: Int32Array.from(ids), labels: Int32Array.from(ids) }]);
    const steps = (model: Parameters<typeof takeSteps>[0], from: number) =>
      takeSteps(model, [batch, batch], (step) => ({
        ...{ seed: 5n + BigInt(from + step), eps: 1e-3, learningRate: 1e-3, weightDecay: 0.1 },
        ...{ noise: "gaussian", projectedGradient: 1 + step },
      }));
    try {
      const whole = await withModel(folder(name), options(wire), async (model) => {
        await steps(model, 0);
        await model.save(dir);
        const saved = await weightBits(model);
        await steps(model, 2);
        return { saved, end: await weightBits(model) };
      });
      const config = JSON.parse(await fs.readFile(path.join(dir, "config.json"), "utf8")) as Record<string, unknown>;
      expect(config["torch_dtype"] ?? config["dtype"]).toBe("bfloat16");
      const plain = await withModel(dir, { offload: { wire: "bf16" } }, weightBits);
      expect(sameBits(plain, whole.saved)).toBe(true);
      const end = await withModel(dir, options(wire), async (model) => {
        expect(sameBits(await weightBits(model), whole.saved)).toBe(true);
        await steps(model, 2);
        return weightBits(model);
      });
      expect(sameBits(end, whole.end)).toBe(true);
    } finally {
      await fs.rm(dir, { recursive: true, force: true });
    }
  });

  it("is resumed and replayed to the bits of a run that nobody interrupted", async () => {
    const dir = await fs.mkdtemp(path.join(os.tmpdir(), "zo2-blocks-"));
    const run = path.join(dir, "run");
    try {
      const whole = await RUNS.train(run, name, options(wire), RUNS.OPTIONS);
      await RUNS.train(run, name, options(wire), { ...RUNS.OPTIONS, run }, 3);
      expect(sameBits(await RUNS.train(run, name, options(wire), "resume"), whole)).toBe(true);
      const elsewhere = options(wire, { unitBytes: 50_000, slots: 2 }, { journals: [run] });
      expect(sameBits(await withModel(folder(name), elsewhere, weightBits), whole)).toBe(true);
      const other = options(wire === "int8" ? "e4m3" : "int8", {}, { journals: [run] });
      await expect(withModel(folder(name), other, weightBits)).rejects.toMatchObject({ code: "ZO2_ERR_JOURNAL" });
    } finally {
      await fs.rm(dir, { recursive: true, force: true });
    }
  });
});

/** The numbers of a format that are not negative, by OCP's definitions of INT8 and E4M3. */
const NUMBERS: Readonly<Record<Wire, readonly number[]>> = {
  int8: Array.from({ length: 128 }, (_, code) => code),
  e4m3: Array.from({ length: 127 }, (_, code) => {
    const [exponent, mantissa] = [code >> 3, code & 7];
    return exponent === 0 ? mantissa * 2 ** -9 : (1 + mantissa / 8) * 2 ** (exponent - 7);
  }),
};

/** Of weights of one block: for each the numbers around it that the block can hold, and the nearest of them. */
function lattice(wire: Wire, block: readonly number[]) {
  const numbers = NUMBERS[wire];
  const largest = Math.max(...block.map(Math.abs));
  let scale = 1;
  while (largest / scale > (numbers.at(-1) ?? 0)) scale *= 2;
  while (largest > 0 && largest / (scale / 2) <= (numbers.at(-1) ?? 0)) scale /= 2;
  return block.map((w) => {
    const x = Math.abs(w) / scale;
    const code = numbers.findLastIndex((number) => number <= x);
    const [low = 0, high = 0] = [numbers[code], numbers[Math.min(code + 1, numbers.length - 1)]];
    const rest = high === low ? 0 : (x - low) / (high - low);
    const nearest = rest > 0.5 || (rest === 0.5 && code % 2 === 1) ? high : low;
    const signed = (value: number) => (w < 0 ? -value : value) * scale + 0;
    return { low: signed(low), high: signed(high), nearest: signed(nearest), rest, step: (high - low) * scale };
  });
}

/** The blocks of a matrix's rows. */
function blocksOf(values: Float32Array, width: number): number[][] {
  const blocks: number[][] = [];
  for (let row = 0; row < values.length; row += width)
    for (let column = 0; column < width; column += 64)
      blocks.push(Array.from(values.subarray(row + column, row + Math.min(column + 64, width))));
  return blocks;
}

const ids = Int32Array.from({ length: 12 }, (_, t) => (t * 29 + 7) % 208);
const batch = packBatch([{ kind: "tokens", ids, labels: ids }]);
const UPDATE = 2 ** -16;

/** The matrices of GPT-2's fixture before and after `count` steps that each take `UPDATE` off every weight. */
function pushed(model: ModelOptions, count: number) {
  return withModel(folder("gpt2"), model, async (loaded) => {
    const matrices = loaded.parameters.filter(({ shape }) => shape.length > 1);
    const values = () => Promise.all(matrices.map(({ name }) => loaded.parameterValues(name)));
    const z = new Float32Array(canonicalLength(loaded.parameters)).fill(1);
    const before = await values();
    const step = { seed: 3n, eps: 1e-3, learningRate: UPDATE, weightDecay: 0, noise: { z }, projectedGradient: 1 };
    await takeSteps(loaded, new Array<typeof batch>(count).fill(batch), () => step);
    const after = await values();
    return matrices.map(({ shape }, i) => {
      const width = shape.at(-1) ?? 1;
      return { before: before[i] ?? new Float32Array(), after: after[i] ?? new Float32Array(), width };
    });
  });
}

describe.each(WIRES)("%s", (wire) => {
  it("holds of every loaded weight the nearest number that its block can hold", async () => {
    const stored = await pushed({ offload: { wire: "fp32" } }, 0);
    const loaded = await pushed(options(wire), 0);
    let changed = 0;
    for (const [i, { before, width }] of stored.entries()) {
      const expected = blocksOf(before, width).flatMap((block) => lattice(wire, block).map(({ nearest }) => nearest));
      expect(Array.from(loaded[i]?.before ?? [])).toEqual(expected);
      changed += expected.filter((value, e) => value !== before[e]).length;
    }
    expect(changed).toBeGreaterThan(1000);
  });

  it.each(["auto", "nearest"] as const)("rounds updates as the definition says (%s)", async (rounding) => {
    let [error, variance, wrong, count] = [0, 0, 0, 0];
    for (const { before, after, width } of await pushed(options(wire, {}, { rounding }), 1)) {
      const exact = before.map((w) => w - UPDATE);
      const expected = blocksOf(exact, width).flatMap((block) => lattice(wire, block));
      expected.forEach(({ low, high, nearest, rest, step }, e) => {
        const got = after[e] ?? Number.NaN;
        const fine = rounding === "nearest" ? got === nearest : got === low || (got === high && rest > 0);
        wrong += fine ? 0 : 1;
        count++;
        if (step === 0) return;
        error += (got - (exact[e] ?? 0)) / step;
        variance += rest * (1 - rest);
      });
    }
    expect(wrong).toBe(0);
    expect(variance).toBeGreaterThan(count / 1000);
    // Of nearest, nearly all of what the step wanted is missing.
    if (rounding === "auto") expect(Math.abs(error)).toBeLessThan(5 * Math.sqrt(variance));
    else expect(Math.abs(error)).toBeGreaterThan(10 * Math.sqrt(variance));
  });

  it("moves on average as far as fp32 does over many updates, which nearest rounding does not", async () => {
    const steps = 24;
    const errors = async (rounding: "auto" | "nearest") =>
      (await pushed(options(wire, { unitBytes: 1_000_000 }, { rounding }), steps)).flatMap(({ before, after }) =>
        Array.from(after, (w, e) => w - ((before[e] ?? 0) - steps * UPDATE)),
      );
    const meanOf = (values: readonly number[]) => values.reduce((sum, x) => sum + x, 0) / values.length;
    const stochastic = await errors("auto");
    const mean = meanOf(stochastic);
    const deviation = Math.sqrt(meanOf(stochastic.map((x) => (x - mean) ** 2)) / stochastic.length);
    expect(Math.abs(mean)).toBeLessThan(5 * deviation);
    expect(5 * deviation).toBeLessThan((steps * UPDATE) / 4);
    expect(meanOf(await errors("nearest"))).toBeGreaterThan((steps * UPDATE) / 2);
  });
});
