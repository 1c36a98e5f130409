/** Which plan is in force: one is made anew where that of before does not hold what a pass needs, and only there. */
import { idleDevice } from "../../support/idle-device.js";
import { SESSION_OPTIONS } from "../../support/session.js";
import { fixtureFolder } from "../models/support.js";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packBatch } from "../../../src/data/index.js";
import type { SessionOptions } from "../../../src/device/options.js";
import type { Direction } from "../../../src/device/requests.js";
import { Session } from "../../../src/device/session.js";
import { deviceBytes, type Plan } from "../../../src/memory/plan.js";
import type { Tier } from "../../../src/memory/residence.js";
import { cutUnits } from "../../../src/memory/units.js";
import type { CoefficientRule, Probe } from "../../../src/method/index.js";
import { defineModel } from "../../../src/models/index.js";
import { numberParameters } from "../../../src/ops/parameter.js";
import { createRecorder } from "../../../src/ops/record.js";

/** @param o.memory most bytes of one buffer. */
async function withSession(
  body: (session: Session) => Promise<void>,
  { kind = "idle", memory = Infinity, ...o }: Partial<SessionOptions> & { kind?: string; memory?: number } = {},
): Promise<void> {
  const config = JSON.parse(readFileSync(join(fixtureFolder("llama"), "config.json"), "utf8")) as object;
  const definition = defineModel(config);
  const parameters = numberParameters(definition.parameters);
  const recorder = createRecorder(parameters);
  definition.record(recorder);
  const recording = recorder.finish();
  const units = cutUnits(recording, { wire: "fp32", compute: "fp32" });
  const session = await Session.create(idleDevice(kind, memory), recording, units, { ...SESSION_OPTIONS, ...o });
  await body(session);
  await session.dispose();
}

const batchOf = (...lengths: number[]) => [
  packBatch(
    lengths.map((length) => {
      const ids = Int32Array.from({ length }, (_, t) => t + 3);
      return { kind: "tokens", ids, labels: ids };
    }),
  ),
];
const of: Direction = { seed: 1n, step: 0, noise: "gaussian", eps: 1e-3 };
const along = (direction: number, sign: 1 | -1): Probe => ({ direction, sign });
const rule = (directions: number): CoefficientRule => ({
  differences: Array.from({ length: directions }, (_, d) => ({ minuend: d, subtrahend: directions })),
  ...{ divisor: 1, shaping: "none", normalised: false },
});
const request = (probes: Probe[], directions = 1) => ({
  ...{ ...of, probes, rule: rule(directions), learningRate: 1, weightDecay: 0 },
});
const sizesOf = ({ options }: Plan) => [options.probes, options.sides, options.capacity.rows];

it("grows with rows, probes and sides, keeps what it has, and is not made anew for less", () =>
  withSession(async (session) => {
    const plan = () => session.plan as Plan;
    await session.forward(batchOf(20));
    expect(sizesOf(plan())).toEqual([1, 1, 32]);
    const first = plan();
    await session.forward(batchOf(30));
    await session.forward(batchOf(5, 6));
    expect(plan()).toBe(first);
    await session.forward(batchOf(40));
    expect(sizesOf(plan())).toEqual([1, 1, 64]);
    // One side each: more probes, and no more room for perturbed weights.
    await session.probe(batchOf(9), request([along(0, 1), along(1, 1)], 1));
    expect(sizesOf(plan())).toEqual([2, 1, 64]);
    // Both sides of one direction: as many probes, and room for two.
    await session.probe(batchOf(9), request([along(0, 1), along(0, -1)]));
    expect(sizesOf(plan())).toEqual([2, 2, 64]);
    const grown = plan();
    await session.forward(batchOf(64));
    await session.probe(batchOf(33), request([along(0, 1), along(0, -1)]));
    expect(plan()).toBe(grown);
    await session.forward(batchOf(100));
    expect(sizesOf(plan())).toEqual([2, 2, 128]);
  }));

it("of another kind has its own sizes: other output, or a cache of other rows or in another place", () =>
  withSession(async (session) => {
    await session.forward(batchOf(70));
    await session.forward(batchOf(9), { output: "logits" });
    expect(sizesOf(session.plan as Plan)).toEqual([1, 1, 32]);
    const tiers: unknown[] = [];
    for (const [rows, tier] of [
      [16, "device"],
      [16, "host"],
      [48, "host"],
    ] as const) {
      const cache = await session.createCache(rows, batchOf(9), tier);
      tiers.push(session.plan?.options.cache);
      const before = session.plan;
      await session.createCache(rows, batchOf(9), tier);
      expect(session.plan).toBe(before);
      expect([cache.tier, cache.rows]).toEqual([tier, rows]);
    }
    expect(tiers).toEqual([
      { tier: "device", rows: 16 },
      { tier: "host", rows: 16 },
      { tier: "host", rows: 48 },
    ]);
  }));

it("is made anew when other parameters are frozen, and only then", () =>
  withSession(async (session) => {
    const { parameters } = session.recording;
    await session.forward(batchOf(20));
    const first = session.plan;
    await session.freeze(new Set());
    expect(session.plan).toBe(first);
    await session.freeze(new Set(parameters.slice(0, 1)));
    const second = session.plan as Plan;
    expect(second).not.toBe(first);
    expect(second.options.residences.some(({ changes }) => !changes)).toBe(true);
    await session.freeze(new Set(parameters.slice(0, 1)));
    expect(session.plan).toBe(second);
    // As many as before, and other ones.
    await session.freeze(new Set(parameters.slice(1, 2)));
    expect(session.plan).not.toBe(second);
    expect(session.plan?.options.residences.every(({ changes }) => changes)).toBe(true);
  }));

it("whose units are arranged anew is asked for by what passes need, and no choice of another plan", async () => {
  const asked: string[][] = [];
  const arrange: SessionOptions["arrange"] = (needs) => {
    asked.push(Object.keys(needs).sort());
    return { tiers: tiersOf, slots: 2, prepareAhead: false, activations: "device" };
  };
  let tiersOf: readonly Tier[] = [];
  await withSession(
    async (session) => {
      tiersOf = session.units.map(() => "host");
      const { capacity } = session.planForBatch(batchOf(20), [along(0, 1)]).options;
      await session.planAhead([{ capacity, probes: [along(0, 1)], output: "logprobs" }]);
    },
    { arrange },
  );
  expect(asked).toEqual([["cache", "capacity", "output", "probes", "sides"]]);
});

describe("that has activations in host memory", () => {
  const both = [along(0, 1), along(0, -1)];
  const micros = (count: number, length = 20) => Array.from({ length: count }, () => batchOf(length)).flat();
  const planned = async (o: Parameters<typeof withSession>[1], batch = micros(4)) => {
    let plan: Plan | null = null;
    await withSession(async (session) => {
      await session.probe(batch, request(both));
      plan = session.plan;
    }, o);
    return plan as unknown as Plan;
  };
  const tierOf = async (...given: Parameters<typeof planned>) => (await planned(...given)).options.activations;
  const pinned = { prepareAhead: "off" } as const;

  it("is made when asked for, and else where the budget or the device has no room for them there", async () => {
    for (const activations of ["device", "host"] as const) expect(await tierOf({ activations })).toBe(activations);
    expect(await tierOf(pinned)).toBe("device");
    const needed = deviceBytes(await planned(pinned));
    expect(await tierOf({ ...pinned, deviceMemory: needed })).toBe("device");
    expect(await tierOf({ ...pinned, deviceMemory: needed - 1 })).toBe("host");
    await expect(tierOf({ ...pinned, deviceMemory: needed - 1, activations: "device" })).rejects.toMatchObject({
      code: "ZO2_ERR_MEMORY_BUDGET",
    });
    const { bytes } = (await planned(pinned)).device;
    expect(await tierOf({ ...pinned, memory: bytes })).toBe("device");
    expect(await tierOf({ ...pinned, memory: bytes - 1 })).toBe("host");
    await expect(tierOf({ ...pinned, memory: bytes - 1, activations: "device" })).rejects.toMatchObject({
      code: "ZO2_ERR_OUT_OF_MEMORY",
    });
  });

  it("is made after one that prepares nothing ahead has been found too large", async () => {
    const ways = (
      await Promise.all(
        (["device", "host"] as const).flatMap((activations) =>
          (["on", "off"] as const).map((prepareAhead) => planned({ kind: "cuda", activations, prepareAhead })),
        ),
      )
    ).map((plan) => [deviceBytes(plan), plan.options.activations, plan.options.prepareAhead] as const);
    for (const [deviceMemory] of ways) {
      const { options } = await planned({ kind: "cuda", deviceMemory });
      const first = ways.find(([bytes]) => bytes <= deviceMemory);
      expect([options.activations, options.prepareAhead]).toEqual(first?.slice(1));
    }
  });

  it("is not made for the sake of other passes: those have a plan of their own", async () => {
    const [many, long] = [micros(6, 20), micros(1, 90)];
    const most = Math.max(...(await Promise.all([many, long].map((batch) => planned(pinned, batch)))).map(deviceBytes));
    await withSession(
      async (session) => {
        for (const batch of [many, long, many]) {
          await session.probe(batch, request(both));
          expect(session.plan?.options.activations).toBe("device");
          expect(session.plan?.options.capacity.microBatches).toBe(batch.length);
        }
      },
      { ...pinned, deviceMemory: most },
    );
  });
});

describe("that prepares ahead", () => {
  const both = [along(0, 1), along(0, -1)];
  const planned = async (o: Parameters<typeof withSession>[1]) => {
    let plan: Plan | null = null;
    await withSession(async (session) => {
      await session.probe(batchOf(20), request(both));
      plan = session.plan;
    }, o);
    return plan as unknown as Plan;
  };
  const isAhead = async (o: Parameters<typeof withSession>[1]) => (await planned(o)).options.prepareAhead;

  it("is made when asked for, and else on a GPU whose lanes overlap", async () => {
    for (const prepareAhead of ["on", "off"] as const)
      for (const kind of ["cpu", "cuda"])
        expect(await isAhead({ kind, prepareAhead, overlap: false })).toBe(prepareAhead === "on");
    const kinds = ["cpu", "cuda", "cuda-emulated"];
    expect(await Promise.all(kinds.map((kind) => isAhead({ kind })))).toEqual([false, true, true]);
    expect(await Promise.all(kinds.map((kind) => isAhead({ kind, overlap: false })))).toEqual([false, false, false]);
  });

  it("is not made where the budget or the device has no room for it, unless it was asked for", async () => {
    const needed = deviceBytes(await planned({ kind: "cuda" }));
    expect(await isAhead({ kind: "cuda", deviceMemory: needed })).toBe(true);
    expect(await isAhead({ kind: "cuda", deviceMemory: needed - 1 })).toBe(false);
    await expect(isAhead({ kind: "cuda", deviceMemory: needed - 1, prepareAhead: "on" })).rejects.toMatchObject({
      code: "ZO2_ERR_MEMORY_BUDGET",
    });
    const { bytes } = (await planned({ kind: "cuda" })).device;
    expect(await isAhead({ kind: "cuda", memory: bytes })).toBe(true);
    expect(await isAhead({ kind: "cuda", memory: bytes - 1 })).toBe(false);
    await expect(isAhead({ kind: "cuda", memory: bytes - 1, prepareAhead: "on" })).rejects.toMatchObject({
      code: "ZO2_ERR_OUT_OF_MEMORY",
    });
  });
});
