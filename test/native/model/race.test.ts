import path from "node:path";
import { loadNative } from "zo2/native";
import type { Command } from "../../../src/schedule/schedule.js";
import { DEVICE } from "../device.js";
import { fixtures, packed, readJson, takeSteps, withModel } from "./helpers.js";

/** The wait to leave out, by its number among all that were scheduled since `waits` was reset; null: none. */
let omitted: number | null = null;
let waits: string[] = [];

jest.mock("../../../src/schedule/schedule.js", () => {
  const real = jest.requireActual<typeof import("../../../src/schedule/schedule.js")>("../../../src/schedule/schedule.js");
  return {
    ...real,
    schedulePass: (...args: Parameters<typeof real.schedulePass>) => {
      const { commands, after } = real.schedulePass(...args);
      const kept = commands.filter((c: Command) => c.kind !== "wait" || waits.push(`${args[1].kind}: ${c.lane} waits for ${c.event}`) - 1 !== omitted);
      return { commands: kept, after };
    },
  };
});

const dir = path.join(fixtures, "trajectories/models/A");
const batches = readJson("trajectories", "inputs-A.json").train.slice(0, 2).map(packed);

/** Two steps, a flush and an evaluation on the plan with the fewest slots; resolves with what went wrong, if anything did. */
async function run(without: number | null): Promise<string | null> {
  omitted = without;
  waits = [];
  try {
    await withModel(dir, { offload: { to: "host", wire: "fp32", slots: 1, unitBytes: 400_000 } }, async (model) => {
      await takeSteps(model, batches, () => ({ seed: 5n, eps: 1e-3, learningRate: 1e-3, weightDecay: 0, noise: "gaussian" }));
      await model.engine.forward([batches[0]]);
    });
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

const raceBuild = DEVICE === "cuda" && loadNative().build.includes("emulated-race");
(raceBuild ? describe : describe.skip)("the race detector over the schedule (ZO2_CUDA=emulated-race, ZO2_TEST_DEVICE=cuda)", () => {
  it("reports nothing on the schedule as it is, and every wait that is left out", async () => {
    expect(await run(null)).toBeNull();
    const all = waits;
    expect(all.length).toBeGreaterThan(10);
    const unseen: string[] = [];
    for (let w = 0; w < all.length; w++) {
      const failure = await run(w);
      if (failure === null || !/race/i.test(failure)) unseen.push(`${w}. ${all[w]} (${failure ?? "nothing was reported"})`);
    }
    expect(unseen).toEqual([]);
    expect(await run(null)).toBeNull();
  }, 600_000);
});
