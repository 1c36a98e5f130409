import path from "node:path";
import { loadNative, type Device, type Gate } from "zo2/native";
import { packBatch, type PackedBatch } from "../../../src/data/index.js";
import type { Model } from "../../../src/model.js";
import { CommandList } from "../../../src/device/words.js";
import type { Executor } from "../../../src/device/issue.js";
import type { Command } from "../../../src/schedule/pass.js";
import { DEVICE } from "../device.js";
import { fixtures, withModel } from "./helpers.js";

/** The wait to leave out, by its number among all that were scheduled since `waits` was reset; null: none. */
let omitted: number | null = null;
let waits: string[] = [];
let passes = 0;

jest.mock("../../../src/schedule/pass.js", () => {
  const real = jest.requireActual<typeof import("../../../src/schedule/pass.js")>("../../../src/schedule/pass.js");
  return {
    ...real,
    schedulePass: (...args: Parameters<typeof real.schedulePass>) => {
      const { commands, after } = real.schedulePass(...args);
      const kept = commands.filter(
        (c: Command) =>
          c.kind !== "wait" || waits.push(`${args[1].kind}: ${c.lane} waits for ${c.event}`) - 1 !== omitted,
      );
      passes++;
      return { commands: kept, after };
    },
  };
});

const dir = path.join(fixtures, "trajectories/models/A");
const ids = Int32Array.of(2, 9, 5, 17, 4, 30);
const batch: PackedBatch[] = [packBatch([{ kind: "tokens", ids, labels: ids }])];

/**
 * Stops the compute lane here, until the gate opens: what follows is in flight together, whatever the machine's speed.
 */
function hold(model: Model): Gate {
  const { parts } = model as unknown as {
    readonly parts: { readonly device: Device; readonly engine: { readonly executor: Executor } };
  };
  const gate = parts.device.createGate();
  const list = new CommandList();
  list.hold(parts.engine.executor.stream("compute"), gate);
  parts.device.submit(list.words, list.handles);
  return gate;
}

async function passed(count: number): Promise<void> {
  while (passes < count) await new Promise((resolve) => setTimeout(resolve, 1));
}

/**
 * A step, two in flight at once, a flush in flight with the second, and an evaluation, on the plan with the fewest
 * slots.
 */
async function run(without: number | null): Promise<string | null> {
  omitted = without;
  waits = [];
  passes = 0;
  try {
    await withModel(dir, { offload: { to: "host", wire: "fp32", slots: 1, unitBytes: 400_000 } }, async (model) => {
      const gates: Gate[] = [];
      try {
        const step = (index: number) =>
          model.engine.train(batch, {
            step: index,
            seed: 5n,
            eps: 1e-3,
            learningRate: 1e-3,
            weightDecay: 0,
            noise: "gaussian",
          });
        await (await step(0)).result;
        model.engine.commit();
        gates.push(hold(model));
        const first = await step(1);
        model.engine.commit();
        gates.push(hold(model));
        const second = await step(2);
        model.engine.commit();
        const ends = [first.result, second.result, model.engine.flush()];
        const ended = Promise.allSettled(ends);
        gates[0].open();
        await Promise.race([passed(4), ended]);
        gates[1].open();
        await Promise.all(ends);
        await model.engine.forward(batch);
      } finally {
        for (const gate of gates) gate.open();
      }
    });
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

/**
 * The host reads the weights when a flush has ended, and the detector does not see the host: test/unit/schedule shows
 * that this wait is needed.
 */
const forTheHost = (wait: string) => wait.startsWith("flush: compute waits for offloaded");

/** Of waits that differ in the unit only, the first and the last, unless ZO2_RACE_EVERY is set: each takes seconds. */
function chosen(all: readonly string[], wait: number): boolean {
  if (process.env.ZO2_RACE_EVERY) return true;
  const pattern = (w: number) => all[w]?.replace(/\d+$/, "");
  const alike = all.flatMap((_, w) => (pattern(w) === pattern(wait) ? [w] : []));
  return wait === alike[0] || wait === alike.at(-1);
}

const raceBuild = DEVICE === "cuda" && loadNative().build.includes("emulated-race");
(raceBuild ? describe : describe.skip)(
  "the race detector over the schedule (ZO2_CUDA=emulated-race, ZO2_TEST_DEVICE=cuda)",
  () => {
    it("reports nothing on the schedule as it is, and every wait between lanes that is left out", async () => {
      expect(await run(null)).toBeNull();
      const all = waits;
      expect(all.length).toBeGreaterThan(10);
      const unseen: string[] = [];
      for (let w = 0; w < all.length; w++) {
        if (forTheHost(all[w]) || !chosen(all, w)) continue;
        const failure = await run(w);
        if (failure === null || !/racecheck/.test(failure))
          unseen.push(`${w}. ${all[w]} (${failure ?? "nothing was reported"})`);
      }
      expect(unseen).toEqual([]);
      expect(await run(null)).toBeNull();
    }, 600_000);
  },
);
