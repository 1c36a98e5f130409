/**
 * Where units rest when it is chosen: to the byte, whatever the model, the batch and the budget, and without a trace in
 * the weights.
 */
import os from "node:os";
import type { ModelOptions } from "../../../src/config/model.js";
import type { Model } from "../../../src/model.js";
import { Trainer } from "../../../src/train/trainer.js";
import { errorOf, random } from "../support.js";
import { DEVICE } from "../device.js";
import { sameBits, weightBits, withModel } from "./helpers.js";
import { folder } from "./runs.js";

const MODELS = ["opt", "gpt2", "llama", "llama3-scaled-bf16", "qwen3-bf16", "opt-sharded-fp16"];
const ALIGNMENT = 256;
/** An emulated device takes a second for what takes a CPU milliseconds. */
const COUNT = process.env["ZO2_TEST_ALL"] !== undefined ? 200 : DEVICE === "cuda" ? 6 : 60;

interface Case {
  readonly name: string;
  readonly options: ModelOptions;
  readonly batchSize: number;
  readonly microBatchSize: number;
  readonly length: number;
  /** Where the budget lies between what the model takes streamed and resident. */
  readonly share: number;
  /** Of what it takes resident, how much of host memory is allowed where a disk is there; null: no disk. */
  readonly hostShare: number | null;
}

/** Every number of it drawn; budgets from too little to more than enough. */
function cases(count: number): readonly Case[] {
  const draw = random(20261130);
  const among = <T>(values: readonly T[]) => values[Math.floor(draw() * values.length)];
  return Array.from({ length: count }, () => {
    const batchSize = 1 + Math.floor(draw() * 4);
    const length = 4 + Math.floor(draw() * 40);
    return {
      ...{ share: draw() * 1.3 - 0.2, hostShare: draw() < 0.4 ? 0.4 + 0.7 * draw() : null },
      ...{ name: among(MODELS), batchSize, microBatchSize: 1 + Math.floor(draw() * batchSize), length },
      options: {
        rounding: among(["nearest", "stochastic"]),
        offload: {
          ...{ to: "auto", wire: among(["stored", "fp32", "bf16"] as const), slots: among([undefined, 1, 2, 4]) },
          ...{ writeBackEvery: among([1, 1, 3]), overlap: draw() < 0.8, prepareAhead: among(["auto", "on", "off"]) },
          ...(draw() < 0.4 ? { unitBytes: Math.floor(2000 + draw() * 60_000) } : {}),
          activations: among(["auto", "device", "host", "host"]),
        },
        ...(draw() < 0.5 ? { workload: { batchSize, maxLength: length } } : {}),
      },
    } as const;
  });
}

const dataOf = ({ length, batchSize }: Case) =>
  Array.from({ length: 2 * batchSize }, (_, i) => ({
    ids: Array.from({ length: Math.max(2, length - (i % 3)) }, (_, t) => (i * 31 + t * 7 + t * t) % 97),
  }));

async function train(model: Model, { batchSize, microBatchSize, length }: Case, data: object[]): Promise<number[]> {
  const losses: number[] = [];
  const method = { name: "mezo-sgd", learningRate: 1e-3, weightDecay: 0.1 } as const;
  const options = { method, steps: 3, batchSize, microBatchSize, maxLength: Math.max(2, length), seed: 5 };
  for await (const step of new Trainer(model, options).fit(data)) losses.push(step.lossPlus, step.lossMinus);
  return losses;
}

function checkBytes(model: Model): void {
  const plan = model.plan();
  const { deviceBytes, hostBytes, fileBytes } = model.deviceInfo();
  expect([deviceBytes, hostBytes, fileBytes]).toEqual([plan.deviceBytes, plan.hostBytes, plan.diskBytes]);
  if (plan.deviceMemory !== null) expect(plan.deviceBytes).toBeLessThanOrEqual(plan.deviceMemory);
}

const residentUnits = (model: Model) => model.plan().units.filter(({ tier }) => tier === "device").length;

it("the plan's bytes are those allocated, fill the budget to within a unit, and change no weight", async () => {
  const all = cases(COUNT);
  const counts = { refused: 0, onDisk: 0, resident: 0, mixed: 0, streamed: 0 };
  for (const [index, one] of all.entries()) {
    const { name } = one;
    const data = dataOf(one);
    const bytesOf = (to: "host" | "device") =>
      withModel(folder(name), { ...one.options, offload: { ...one.options.offload, to } }, async (model) => {
        await train(model, one, data);
        return model.plan().deviceBytes;
      });
    const [streamedBytes, residentBytes] = [await bytesOf("host"), await bytesOf("device")];
    const deviceMemory = Math.floor(streamedBytes + one.share * (residentBytes - streamedBytes));
    const hostMemory = Math.floor((one.hostShare ?? 0) * residentBytes);
    const disk = one.hostShare === null ? {} : { diskPath: os.tmpdir(), hostMemory };
    // Where the memory is one, the budget of the host is the only one then.
    const device = one.hostShare === null || DEVICE === "cuda" ? { deviceMemory } : {};
    const options = { ...one.options, offload: { ...one.options.offload, ...device, ...disk } };
    const trained = async (model: Model) => ({
      losses: await train(model, one, data),
      weights: await weightBits(model),
    });
    try {
      const auto = await withModel(folder(name), options, async (model) => {
        const losses = await train(model, one, data);
        // Before weights are read, which takes staging memory for a moment.
        checkBytes(model);
        const result = { losses, weights: await weightBits(model) };
        const { units, deviceMemory, deviceBytes, hostBytes, unitBytes } = model.plan();
        const left = deviceMemory === null ? hostMemory - deviceBytes - hostBytes : deviceMemory - deviceBytes;
        const moving = units.filter(({ tier }) => tier !== "device");
        expect(hostBytes).toBeLessThanOrEqual(one.hostShare === null ? Number.POSITIVE_INFINITY : hostMemory);
        if (moving.some(({ tier }) => tier === "disk")) counts.onDisk++;
        // What rests on disk stays there, whatever has room since the data is known.
        for (const { bytes } of moving.filter(({ tier }) => tier === "host"))
          expect(Math.ceil(bytes / ALIGNMENT) * ALIGNMENT).toBeGreaterThan(left);
        counts[moving.length === 0 ? "resident" : moving.length === units.length ? "streamed" : "mixed"]++;
        return { ...result, unitBytes };
      });
      if (index % 4 !== 0) continue;
      const offload = {
        ...options.offload,
        to: "host",
        deviceMemory: undefined,
        hostMemory: undefined,
        unitBytes: auto.unitBytes,
      } as const;
      const streamed = await withModel(folder(name), { ...options, offload }, trained);
      expect(auto.losses).toEqual(streamed.losses);
      expect(sameBits(auto.weights, streamed.weights)).toBe(true);
    } catch (error) {
      expect(error).toMatchObject({
        code: "ZO2_ERR_MEMORY_BUDGET",
        message: expect.stringMatching(/needs is .* of (device|host) memory.*, and .* is allowed; .*"offload\.\w+"$/),
      });
      counts.refused++;
    }
  }
  expect(counts.refused).toBeLessThan(all.length / 2);
  // Every kind was met, where there are enough.
  if (all.length >= 60) expect(Object.entries(counts).filter(([, count]) => count === 0)).toEqual([]);
}, 300_000);

describe("units make room for a longer batch, and come back for a shorter one", () => {
  const long = [{ ids: Array.from({ length: 60 }, (_, t) => (t * 7) % 97) }];
  const short: Case = {
    name: "opt",
    options: {},
    batchSize: 1,
    microBatchSize: 1,
    length: 6,
    share: 1,
    hostShare: null,
  };

  /** Trains, evaluates and trains again, and looks at the model after each. */
  async function run(model: Model, look: () => void) {
    const losses = await train(model, short, dataOf(short));
    look();
    losses.push((await model.evaluate(long)).loss);
    look();
    losses.push(...(await train(model, short, dataOf(short))));
    look();
    return { losses, weights: await weightBits(model) };
  }
  it("with the same losses and weights, and the bytes of the plan at every time", async () => {
    const offload = { unitBytes: 12_000, writeBackEvery: 2, wire: "bf16" } as const;
    const streamed = await withModel(folder("opt"), { offload }, (model) => run(model, () => undefined));
    const tight = { ...offload, to: "auto", deviceMemory: 620_000 } as const;
    await withModel(folder("opt"), { offload: tight, workload: { maxLength: 6 } }, async (model) => {
      const residents: number[] = [];
      const moved = await run(model, () => {
        checkBytes(model);
        residents.push(residentUnits(model));
      });
      const [first, second, third] = residents;
      expect(first).toBeGreaterThan(second);
      expect(third).toBe(first);
      expect(moved.losses).toEqual(streamed.losses);
      expect(sameBits(moved.weights, streamed.weights)).toBe(true);
    });
  });
});

it("a model that fits is resident, and needs nothing in host memory but staging", () =>
  withModel(folder("gpt2"), { offload: { to: "auto" } }, async (model) => {
    const { units, hostBytes } = model.plan();
    expect(new Set(units.map(({ tier }) => tier))).toEqual(new Set(["device"]));
    expect(hostBytes).toBeLessThan(units.reduce((sum, { bytes }) => sum + bytes, 0));
  }));

it("a budget of host memory is kept to as well", async () => {
  const offload = { to: "host", hostMemory: "50KiB" } as const;
  expect(await errorOf(withModel(folder("opt"), { offload }, async () => undefined))).toMatchObject({
    code: "ZO2_ERR_MEMORY_BUDGET",
    message: expect.stringMatching(/of host memory .* 50 KiB is allowed; .*"offload.hostMemory"$/),
  });
});
