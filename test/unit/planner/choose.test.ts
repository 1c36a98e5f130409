/** What is chosen keeps to the budget, fills it, and is what a session plans. */
import fs from "node:fs";
import path from "node:path";
import { SESSION_OPTIONS } from "../../support/session.js";
import { idleDevice } from "../../support/idle-device.js";
import { at } from "../../../src/base/at.js";
import { parseBytes } from "../../../src/base/bytes.js";
import { align } from "../../../src/base/dtype.js";
import { packBatch } from "../../../src/data/index.js";
import { Session } from "../../../src/device/session.js";
import { ARENA_ALIGNMENT } from "../../../src/memory/arena.js";
import { deviceBytes, deviceParts, hostBytes } from "../../../src/memory/plan.js";
import { cutUnits } from "../../../src/memory/units.js";
import { defineModel, recordModel } from "../../../src/models/index.js";
import { numberParameters } from "../../../src/ops/parameter.js";
import type { Budgets } from "../../../src/planner/budgets.js";
import { type Choice, type ChoiceOptions, choosePlan, firstThatFits } from "../../../src/planner/choose.js";
import type { Hardware } from "../../../src/simulate/hardware.js";
import { choiceOptions, H100, type OptShape, recordOpt } from "./support.js";

const SHAPES: readonly OptShape[] = [
  { layers: 4, hidden: 64, vocab: 300 },
  { layers: 12, hidden: 128, vocab: 1000 },
  { layers: 7, hidden: 256, vocab: 4000 },
];
const SHARES = [0, 0.1, 0.35, 0.6, 0.9, 0.999];

const residents = ({ tiers }: Choice) => tiers.flatMap((tier, unit) => (tier === "device" ? [unit] : []));

describe.each(SHAPES)("OPT of $layers layers, $hidden wide", (shape) => {
  const model = recordOpt(shape);
  const { recording } = model;
  const all = choosePlan(recording, choiceOptions(model));
  // The least of the largest units; smaller ones take less.
  const pinned = { tierOf: () => "host" as const, slots: 2, prepareAhead: false } as const;
  const least = deviceBytes(firstThatFits(recording, choiceOptions(model, { pinned })).plan);

  it("is resident where there is no limit, or just room for all", () => {
    expect(residents(all)).toHaveLength(all.units.length);
    expect(hostBytes(all.plan)).toBeLessThan(2 ** 20);
    const deviceMemory = deviceBytes(all.plan);
    expect(residents(choosePlan(recording, choiceOptions(model, { deviceMemory })))).toEqual(residents(all));
  });

  it.each(SHARES)("keeps to a budget of %d between streamed and resident, and leaves no room for a unit", (share) => {
    const deviceMemory = Math.floor(least + share * (deviceBytes(all.plan) - 1 - least));
    const choice = choosePlan(recording, choiceOptions(model, { deviceMemory }));
    const left = deviceMemory - deviceBytes(choice.plan);
    expect(left).toBeGreaterThanOrEqual(0);
    for (const unit of choice.units)
      if (at(choice.tiers, unit.index) === "host") expect(align(unit.wireBytes, ARENA_ALIGNMENT)).toBeGreaterThan(left);
  });

  it("leaves alone what was decided already", () => {
    const deviceMemory = 2 * least;
    for (const slots of [2, 3, 4])
      for (const prepareAhead of [true, false]) {
        const decided = { slots, prepareAhead, tierOf: () => "host" as const, unitBytes: 100_000 } as const;
        const choice = choosePlan(recording, choiceOptions(model, { deviceMemory, pinned: decided }));
        expect(choice).toMatchObject({ slots, prepareAhead, unitBytes: 100_000 });
        expect(residents(choice)).toEqual([]);
      }
  });

  it("says what the least is where nothing fits, of the memory that lacks", () => {
    const leastOf = (budgets: Budgets, pattern: RegExp): number => {
      try {
        choosePlan(recording, choiceOptions(model, budgets));
      } catch (error) {
        expect(error).toMatchObject({ code: "ZO2_ERR_MEMORY_BUDGET", message: expect.stringMatching(pattern) });
        const [, text = ""] = /needs is ([\d.]+ \w+)/.exec(String(error)) ?? [];
        return parseBytes(text) ?? Number.NaN;
      }
      throw new Error("it fits");
    };
    const device = leastOf(
      { deviceMemory: 1000 },
      / of device memory, and 1000 B is allowed; .*"offload.deviceMemory"$/,
    );
    const host = leastOf(
      { deviceMemory: least, hostMemory: 5000 },
      / of host memory .* 4.9 KiB .*"offload.hostMemory"$/,
    );
    // What is said is rounded.
    const enough = { deviceMemory: 1.01 * device };
    expect(() => choosePlan(recording, choiceOptions(model, enough))).not.toThrow();
    expect(() => choosePlan(recording, choiceOptions(model, { deviceMemory: 0.95 * device }))).toThrow();
    const both = { deviceMemory: least, hostMemory: 1.01 * host };
    expect(() => choosePlan(recording, choiceOptions(model, both))).not.toThrow();
    expect(() => choosePlan(recording, choiceOptions(model, { ...both, hostMemory: 0.95 * host }))).toThrow();
  });

  it("takes the bytes that a session plans for the same cut and tiers", async () => {
    const { definition } = model;
    for (const batchSize of [1, 3]) {
      const deviceMemory = Math.floor((least * 3 + deviceBytes(all.plan)) / 2);
      const options = choiceOptions(model, { deviceMemory, batch: { batchSize } });
      const { plan, units, tiers, slots, prepareAhead } = choosePlan(recording, options);
      const session = await Session.create(idleDevice(), recording, units, {
        ...{ ...SESSION_OPTIONS, slots, prepareAhead: prepareAhead ? "on" : "off" },
        ...{ tierOf: (unit) => at(tiers, unit), positionRow: definition.positionRow },
      });
      // As many different tokens as there are.
      const examples = Array.from({ length: batchSize }, (_, example) => {
        const ids = Int32Array.from({ length: 64 }, (_, i) => (example * 63 + i) % shape.vocab);
        return { kind: "tokens", ids, labels: ids } as const;
      });
      const planned = session.planForBatch([packBatch(examples)], options.probes);
      expect(planned.options.capacity).toEqual(plan.options.capacity);
      expect(deviceParts(planned)).toEqual(deviceParts(plan));
      expect([deviceBytes(planned), hostBytes(planned)]).toEqual([deviceBytes(plan), hostBytes(plan)]);
      await session.dispose();
    }
  });
});

it("spreads resident units evenly", () => {
  const model = recordOpt({ layers: 40, hidden: 64, vocab: 300 });
  const o = { pinned: { slots: 3, prepareAhead: true, unitBytes: 2 ** 18 } };
  const all = deviceBytes(choosePlan(model.recording, choiceOptions(model, o)).plan);
  for (const share of [0.4, 0.5, 0.7, 0.9]) {
    const choice = choosePlan(model.recording, choiceOptions(model, { ...o, deviceMemory: Math.floor(share * all) }));
    const chosen = residents(choice);
    const [count, units] = [chosen.length, choice.units.length];
    expect(count).toBeGreaterThan(3);
    // Every beginning of the visits has its share, within two.
    for (let unit = 1; unit <= units; unit++) {
      const before = chosen.filter((index) => index < unit).length;
      expect(Math.abs(before - (count * unit) / units)).toBeLessThanOrEqual(2.5);
    }
  }
});

it("takes the largest units, three slots and preparing ahead where nothing is known of the hardware", () => {
  const model = recordOpt({ layers: 7, hidden: 256, vocab: 4000 });
  const all = deviceBytes(firstThatFits(model.recording, choiceOptions(model)).plan);
  const fit = firstThatFits(model.recording, choiceOptions(model, { deviceMemory: all - 1 }));
  expect(fit).toMatchObject({ slots: 3, prepareAhead: true });
  expect(fit).not.toHaveProperty("predicted");
});

describe("activations of many micro-batches", () => {
  const model = recordOpt({ layers: 6, hidden: 128, vocab: 1000 });
  const { recording } = model;
  const batch = { batchSize: 12, microBatchSize: 1 };
  const o = (deviceMemory: number | undefined, pinned: ChoiceOptions["pinned"] = {}) =>
    choiceOptions(model, { deviceMemory, batch, pinned });
  const leastWith = (activations: "device" | "host") =>
    deviceBytes(firstThatFits(recording, o(undefined, { activations, ...STREAMED })).plan);
  const STREAMED = { tierOf: () => "host" as const, slots: 2, prepareAhead: false, unitBytes: 200_000 };
  const [device, host] = [leastWith("device"), leastWith("host")];
  const unitBytes = STREAMED.unitBytes;

  it("rest in host memory where that alone makes a plan fit", () => {
    expect(host).toBeLessThan(device);
    for (const choose of [choosePlan, firstThatFits]) {
      const between = choose(recording, o(device - 1, { unitBytes }) as ChoiceOptions);
      expect(between.activations).toBe("host");
      expect(deviceBytes(between.plan)).toBeLessThan(device);
      expect(() => choose(recording, o(device - 1, { unitBytes, activations: "device" }) as ChoiceOptions)).toThrow(
        expect.objectContaining({
          code: "ZO2_ERR_MEMORY_BUDGET",
          message: expect.stringContaining('set option "offload.activations" = "host"'),
        }),
      );
    }
  });

  it("rest on the device where there is room for all", () => {
    for (const choose of [choosePlan, firstThatFits])
      expect(choose(recording, o(undefined) as ChoiceOptions).activations).toBe("device");
  });

  it("are on the device first where nothing is known of the hardware, and units are cut smaller for that", () => {
    // Short sequences: a cut within a layer frees more than it passes on.
    const short = (deviceMemory?: number, pinned: ChoiceOptions["pinned"] = {}) =>
      choiceOptions(model, { deviceMemory, batch: { batchSize: 2, microBatchSize: 1, maxLength: 8 }, pinned });
    const pinned = { ...STREAMED, unitBytes: undefined, activations: "device" } as const;
    const whole = firstThatFits(recording, short(undefined, pinned));
    const fit = firstThatFits(recording, short(deviceBytes(whole.plan) - 1));
    expect(fit.activations).toBe("device");
    expect(fit.unitBytes).toBeLessThan(whole.unitBytes);
  });

  it("make room for resident units where a step is predicted to be shorter so, and only there", () => {
    const all = deviceBytes(choosePlan(recording, o(undefined, { activations: "device" })).plan);
    const deviceMemory = all - 1;
    const pinned = { unitBytes: 400_000 };
    const seconds = (activations: "device" | "host", hardware: Hardware) =>
      choosePlan(recording, { ...o(deviceMemory, { ...pinned, activations }), hardware }).predicted.seconds;
    const chosen = (hardware: Hardware) => choosePlan(recording, { ...o(deviceMemory, pinned), hardware });
    // Links on which activations cost less than weights that move, and one that hides neither.
    for (const factor of [1, 1e-2, 1e-4]) {
      const hardware = { ...H100, upload: H100.upload * factor, offload: H100.offload * factor };
      const times = [seconds("device", hardware), seconds("host", hardware)] as const;
      const { activations, predicted } = chosen(hardware);
      expect(predicted.seconds).toBeCloseTo(Math.min(...times), 12);
      if (times[1] < times[0]) expect(activations).toBe("host");
    }
  });

  it("are never looked for in host memory where a few areas are all there are", () => {
    const few = choiceOptions(model, { deviceMemory: device, batch: { batchSize: 1 }, pinned: { unitBytes } });
    expect(choosePlan(recording, few).activations).toBe("device");
    expect(() => choosePlan(recording, { ...few, deviceMemory: 1000 })).toThrow(
      expect.not.objectContaining({ message: expect.stringContaining("offload.activations") }),
    );
  });
});

describe("every family", () => {
  const models = path.join(__dirname, "../../fixtures/models");
  test.each(fs.readdirSync(models))("%s in its largest units is cut as it is loaded", (name) => {
    const config = JSON.parse(fs.readFileSync(path.join(models, name, "config.json"), "utf8")) as unknown;
    const definition = defineModel(config);
    const recording = recordModel(definition, numberParameters(definition.parameters));
    const { units, unitBytes } = choosePlan(
      recording,
      choiceOptions({ definition, recording }, { batch: { maxLength: 16 } }),
    );
    expect(units).toEqual(cutUnits(recording, { wire: "fp32", compute: "fp32" }));
    expect(unitBytes).toBeGreaterThan(1000);
  });
});
