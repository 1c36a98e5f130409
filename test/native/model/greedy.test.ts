/** Greedy continuations of every causal fixture, wherever weights, keys and values rest. */
import fs from "node:fs";
import type { ModelOptions } from "../../../src/config/model.js";
import { DEVICE } from "../device.js";
import { continuationsOf, folder, greedyOf } from "./greedy.js";
import { cacheTier, readJson, withModel } from "./helpers.js";

const causal = fs.readdirSync(folder("")).filter((name) => "greedy" in readJson("models", name, "expected.json"));

/** The emulated device takes seconds for what takes a CPU milliseconds: fewer of the same are asked of it. */
const SLOW = DEVICE === "cuda";

it("the fixtures have greedy continuations in several families", () => {
  expect(causal.length).toBeGreaterThanOrEqual(10);
});

describe.each(causal)("%s", (name) => {
  const base: ModelOptions = { offload: { wire: "stored" } };

  it("goes on as transformers does, all prompts at once and one by one", async () => {
    const { prompts, continuations } = await greedyOf(name);
    expect(new Set(prompts.map(({ length }) => length)).size).toBeGreaterThan(1);
    await withModel(folder(name), base, async (model) => {
      expect(await continuationsOf(model, prompts)).toEqual(continuations);
      if (!SLOW) expect(await continuationsOf(model, prompts, { batchSize: 1 })).toEqual(continuations);
    });
  });

  const places = [
    ["weights on the device, cache on the device", { offload: { to: "device" } }, "device"],
    ["weights on the device, cache on the host", { offload: { to: "device" } }, "host"],
    ["small units and one slot, cache on the device", { offload: { unitBytes: 60_000, slots: 1 } }, "device"],
    ["small units and one slot, cache on the host", { offload: { unitBytes: 60_000, slots: 1 } }, "host"],
    ["prompts in several micro-batches, freed memory full of NaN", { maxTokens: 12, test: { poison: true } }, "host"],
  ] as const;
  it.each(SLOW ? places.slice(3, 4) : places)("goes on as transformers does with %s", async (_, options, cache) => {
    const { prompts, continuations } = await greedyOf(name);
    const tiers = new Set<string | undefined>();
    await withModel(
      folder(name),
      {
        ...options,
        test: { onPass: (pass) => void tiers.add(cacheTier(pass)), ...("test" in options ? options.test : {}) },
      },
      async (model) => {
        expect(await continuationsOf(model, prompts, { cache })).toEqual(continuations);
      },
    );
    expect([...tiers]).toEqual([cache]);
  });
});
