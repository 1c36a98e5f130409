/**
 * Where the activations between units rest: in host memory they pass through a few slots, and leave no trace in any
 * loss, result or weight.
 */
import os from "node:os";
import type { ModelOptions } from "../../../src/config/model.js";
import type { TrainerOptions } from "../../../src/config/trainer.js";
import { CARRIED_SLOTS } from "../../../src/memory/plan.js";
import type { Tier } from "../../../src/memory/residence.js";
import type { Model } from "../../../src/model.js";
import type { Declared } from "../../../src/schedule/command.js";
import { Trainer } from "../../../src/train/trainer.js";
import { DEVICE } from "../device.js";
import { sameBits, sessionOf, some, weightBits, withModel } from "./helpers.js";
import { folder } from "./runs.js";

type Offload = NonNullable<ModelOptions["offload"]>;

const examples = Array.from({ length: 8 }, (_, i) => ({
  ids: Array.from({ length: 5 + ((i * 5) % 14) }, (_, t) => (i * 31 + t * 7 + t * t) % 97),
}));
/** An emulated device takes a second for what takes a CPU milliseconds. */
const EMULATED = DEVICE === "cuda";
const SETTINGS: TrainerOptions = {
  method: { name: "mezo-sgd", learningRate: 1e-3, weightDecay: 0.1 },
  ...{ steps: EMULATED ? 2 : 3, batchSize: 4, microBatchSize: 1, seed: 5 },
};

/** Cut within its layers: several values pass between some units, and some units touch only a part of them. */
const CUT = { wire: "fp32", unitBytes: 12_000 } as const;

interface Outcome {
  readonly numbers: readonly number[];
  readonly weights: readonly Uint32Array[];
}

async function outcomeOf(model: Model, trainer: Partial<TrainerOptions> = {}): Promise<Outcome> {
  const numbers: number[] = [];
  for await (const step of new Trainer(model, { ...SETTINGS, ...trainer }).fit(examples))
    numbers.push(step.lossPlus, step.lossMinus, step.projectedGradient);
  numbers.push((await model.evaluate(EMULATED ? examples.slice(0, 2) : examples, { batchSize: 3 })).loss);
  return { numbers, weights: await weightBits(model) };
}

function expectSame(got: Outcome, want: Outcome): void {
  expect(got.numbers).toEqual(want.numbers);
  expect(sameBits(got.weights, want.weights)).toBe(true);
}

/** Whole layers, where it does not matter what passes between units. */
const WHOLE = { wire: "fp32", unitBytes: 500_000 } as const;

/** With activations where `offload` says; by default in host memory. */
const train = (
  name: string,
  offload: Offload = {},
  rest: Partial<ModelOptions> = {},
  trainer: Partial<TrainerOptions> = {},
) =>
  withModel(folder(name), { ...rest, offload: { ...CUT, activations: "host", ...offload } }, (model) =>
    outcomeOf(model, trainer),
  );

const VARIANTS: readonly { readonly how: string; readonly offload?: Offload; readonly test?: ModelOptions["test"] }[] =
  [
    { how: "as it is" },
    {
      how: "random delays, and NaN in all that is released",
      ...{ offload: { slots: 2 }, test: { delayMicroseconds: 200, delaySeed: 1, poison: true } },
    },
    {
      how: "other delays, units prepared ahead",
      ...{ offload: { prepareAhead: "on" }, test: { delayMicroseconds: 300, delaySeed: 2, poison: true } },
    },
    { how: "one slot for weights", offload: { slots: 1 }, test: { poison: true } },
    { how: "no overlap", offload: { overlap: false }, test: { poison: true } },
    { how: "weights on the device", offload: { to: "device" }, test: { poison: true } },
    {
      how: "every third unit on the device",
      test: { poison: true, tier: (unit): Tier => (unit % 3 === 1 ? "device" : "host") },
    },
    {
      how: "weights on disk",
      ...{
        offload: { to: "disk", diskPath: os.tmpdir() },
        test: { poison: true, delayMicroseconds: 100, delaySeed: 3 },
      },
    },
    {
      how: "units of all tiers",
      ...{
        offload: { diskPath: os.tmpdir() },
        test: { tier: (unit) => (["device", "host", "disk"] as const)[unit % 3] },
      },
    },
    {
      how: "write-back at every third visit",
      ...{ offload: { writeBackEvery: 3, prepareAhead: "on" }, test: { poison: true } },
    },
  ];

describe.each(some(["llama3-scaled-bf16", "gpt2", "opt"], 1))("%s with activations in host memory", (name) => {
  let onDevice: Outcome;
  beforeAll(async () => {
    onDevice = await train(name, { activations: "device" });
  });

  it.each(some(VARIANTS, 3))("trains and evaluates as with them on the device: $how", async ({ offload, test }) => {
    expectSame(await train(name, offload, { test }), onDevice);
  });

  it("computed in bf16, too", async () => {
    const [device, host] = [
      await train(name, { activations: "device" }, { dtype: "bf16" }),
      await train(name, {}, { dtype: "bf16", test: { poison: true } }),
    ];
    expectSame(host, device);
    expect(device.numbers).not.toEqual(onDevice.numbers);
  });
});

it("an objective over logits gets the same logits", async () => {
  const run = async (activations: "device" | "host") => {
    const seen: number[] = [];
    const objective: TrainerOptions["objective"] = {
      from: "logits",
      positions: (ids) => [0, ids.length - 1],
      loss: (outputs) => {
        const sum = outputs.flatMap(({ logits }) => logits.map((row) => row[3])).reduce((a, b) => a + b, 0);
        seen.push(sum);
        return sum;
      },
    };
    const outcome = await train("gpt2", { activations, slots: 2 }, { test: { poison: true } }, { objective });
    return { ...outcome, numbers: [...outcome.numbers, ...seen] };
  };
  expectSame(await run("host"), await run("device"));
});

it.each(["device", "host"] as const)(
  "a generation with its cache in %s memory gives the same tokens",
  async (cache) => {
    const prompts = examples.map(({ ids }) => ({ ids }));
    const run = (activations: "device" | "host") =>
      withModel(
        folder("gpt2"),
        { offload: { ...CUT, slots: 2, activations }, test: { poison: true, delayMicroseconds: 50, delaySeed: 4 } },
        async (model) => {
          const before = await model.generate(prompts[1], { maxNewTokens: 9, ignoreEos: true, cache }).result();
          const objective: TrainerOptions["objective"] = {
            from: "text",
            generate: { maxNewTokens: 5, ignoreEos: true, cache },
            loss: (outputs) => outputs.reduce((sum, { generated }, i) => sum + (i + 1) * (generated[4] ?? 0), 0),
          };
          return { ids: before.ids, ...(await outcomeOf(model, { objective, steps: 2 })) };
        },
      );
    const [host, device] = [await run("host"), await run("device")];
    expect(host.ids).toEqual(device.ids);
    expectSame(host, device);
  },
);

it("takes the bytes of the plan, of which the device has those of a few areas", async () => {
  const bytesOf = (activations: "device" | "host") =>
    withModel(folder("opt"), { offload: { ...WHOLE, activations } }, async (model) => {
      await outcomeOf(model, { steps: 1 });
      const plan = model.plan();
      const { deviceBytes, hostBytes } = model.deviceInfo();
      expect([deviceBytes, hostBytes]).toEqual([plan.deviceBytes, plan.hostBytes]);
      return plan;
    });
  const [device, host] = [await bytesOf("device"), await bytesOf("host")];
  const areas = 2 * 4;
  const area = device.activations.bytes / areas;
  expect([device.activations, host.activations]).toEqual([
    { tier: "device", bytes: areas * area },
    { tier: "host", bytes: areas * area },
  ]);
  expect(area).toBeGreaterThan(0);
  expect(host.hostBytes - device.hostBytes).toBe(areas * area);
  expect(device.deviceBytes - host.deviceBytes).toBe((areas - CARRIED_SLOTS) * area);
});

/** What of activations a pass has moved, by unit. */
function movedIn(passes: readonly (readonly Declared[])[]) {
  return passes.flatMap((commands) =>
    commands.flatMap(({ work }) =>
      (work.kind === "upload" || work.kind === "offload") && work.what === "carried" ? [work] : [],
    ),
  );
}

describe("where it is left to be chosen", () => {
  const budgeted = async (deviceMemory: number | undefined, test: ModelOptions["test"] = {}) => {
    const passes: (readonly Declared[])[] = [];
    const onPass = (_: unknown, commands: readonly Declared[]) => passes.push(commands);
    const offload = { ...WHOLE, slots: 1, prepareAhead: "off", activations: "auto", deviceMemory } as const;
    return withModel(folder("opt"), { offload, test: { ...test, onPass } }, async (model) => {
      const outcome = await outcomeOf(model);
      const { deviceBytes } = model.deviceInfo();
      return { outcome, deviceBytes, plan: sessionOf(model).plan, moved: movedIn(passes) };
    });
  };

  it("activations go to host memory where the budget has no room for them, and nowhere on a CPU", async () => {
    const free = await budgeted(undefined);
    expect([free.plan?.options.activations, free.moved]).toEqual(["device", []]);
    const tight = free.deviceBytes - 1;
    if (DEVICE === "cpu") {
      await expect(budgeted(tight)).rejects.toMatchObject({
        code: "ZO2_ERR_MEMORY_BUDGET",
        message: expect.stringContaining('set option "offload.activations" = "host"'),
      });
      return;
    }
    const limited = await budgeted(tight, { poison: true });
    expect(limited.plan?.options.activations).toBe("host");
    expect(limited.moved.length).toBeGreaterThan(0);
    expect(limited.deviceBytes).toBeLessThanOrEqual(tight);
    expectSame(limited.outcome, free.outcome);
  });
});

it("the first unit brings nothing, and the last takes nothing", async () => {
  const passes: (readonly Declared[])[] = [];
  const onPass = (_: unknown, commands: readonly Declared[]) => passes.push(commands);
  await withModel(folder("gpt2"), { offload: { ...CUT, activations: "host" }, test: { onPass } }, async (model) => {
    await outcomeOf(model);
    const units = sessionOf(model).units.map(({ index }) => index);
    const of = (kind: "upload" | "offload") => [
      ...new Set(movedIn(passes).flatMap((work) => (work.kind === kind ? [work.unit] : []))),
    ];
    expect(of("upload")).toEqual(units.slice(1));
    expect(of("offload")).toEqual(units.slice(0, -1));
  });
});
