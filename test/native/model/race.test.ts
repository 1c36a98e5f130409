import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { loadNative, type Device, type Gate } from "zo2/native";
import { packBatch, type PackedBatch } from "../../../src/data/index.js";
import type { Passes } from "../../../src/device/passes.js";
import type { Session } from "../../../src/device/session.js";
import type { ModelOptions } from "../../../src/config/model.js";
import type { Command, Declared } from "../../../src/schedule/command.js";
import { DEVICE } from "../device.js";
import { fixtures, mezo, sessionOf, withModel } from "./helpers.js";

/** The wait to leave out, by its number among all that were ordered since `waits` was reset; null: none. */
let omitted: number | null = null;
let waits: string[] = [];
let passes = 0;

jest.mock("../../../src/schedule/timeline.js", () => {
  const real = jest.requireActual<typeof import("../../../src/schedule/timeline.js")>(
    "../../../src/schedule/timeline.js",
  );
  /** By event, what it was recorded behind. */
  const behind = new Map<number, string>();
  class Leaky extends real.Timeline {
    override order(list: readonly Declared[]) {
      const { commands, end } = super.order(list);
      const flush = !list.some(({ work }) => work.kind === "run");
      let last = "";
      const keeps = (command: Command): boolean => {
        if (command.kind === "work") last = `${command.lane}'s ${textOf(command.work)}`;
        if (command.kind === "record") behind.set(command.event, last);
        if (command.kind !== "wait") return true;
        waits.push(`${flush ? "flush" : "pass"}: ${command.lane} waits for ${behind.get(command.event)}`);
        return waits.length - 1 !== omitted;
      };
      if (list.some(({ work }) => work.kind === "readback")) passes++;
      return { commands: commands.filter(keeps), end };
    }
  }
  return { ...real, Timeline: Leaky };
});

function textOf(work: Declared["work"]): string {
  return [work.kind, ...("what" in work ? [work.what] : []), ...("unit" in work ? [work.unit] : [])].join(" ");
}

const dir = path.join(fixtures, "trajectories/models/A");
const ids = Int32Array.of(2, 9, 5, 17, 4, 30);
const batch: PackedBatch[] = [packBatch([{ kind: "tokens", ids, labels: ids }])];

/** Stops the compute lane in front of the next pass, until the gate opens: what follows is in flight together. */
function hold(session: Session): Gate {
  const { device, passes } = session as unknown as { readonly device: Device; readonly passes: Passes };
  const gate = device.createGate();
  let stopped = false;
  passes.trace = {
    around: (_plan, _issue, _data, encode) => (words, stream, command) => {
      if (!stopped && command.lane === "compute") {
        words.hold(stream, gate);
        stopped = true;
      }
      encode(words, stream, command);
    },
  };
  return gate;
}

async function passed(count: number): Promise<void> {
  while (passes < count) await new Promise((resolve) => setTimeout(resolve, 1));
}

let disk: string;
beforeAll(() => {
  disk = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-race-"));
});
afterAll(() => fs.rmSync(disk, { recursive: true }));

/** Where weights rest, on plans with the fewest slots. On disk: of a tied embedding rows are gathered there. */
const ARRANGEMENTS = {
  host: (prepareAhead: "on" | "off"): ModelOptions => ({
    offload: { to: "host", wire: "fp32", slots: 1, unitBytes: 400_000, prepareAhead },
  }),
  disk: (prepareAhead: "on" | "off"): ModelOptions => ({
    offload: { to: "disk", diskPath: disk, wire: "fp32", slots: 1, unitBytes: 400_000, prepareAhead },
  }),
} as const;
type Arrangement = keyof typeof ARRANGEMENTS;

/** A step, two in flight at once, a flush in flight with the second, and an evaluation. */
async function run(
  arrangement: Arrangement,
  prepareAhead: "on" | "off",
  without: number | null,
): Promise<string | null> {
  omitted = without;
  waits = [];
  passes = 0;
  try {
    await withModel(dir, ARRANGEMENTS[arrangement](prepareAhead), async (model) => {
      const gates: Gate[] = [];
      try {
        const session = sessionOf(model);
        const step = async (index: number) => {
          const settings = { seed: 5n, eps: 1e-3, learningRate: 1e-3, weightDecay: 0, noise: "gaussian" } as const;
          const taken = await session.step(batch, mezo({ step: index, ...settings }));
          session.commit();
          return taken;
        };
        await (await step(0)).result;
        gates.push(hold(session));
        const first = await step(1);
        gates.push(hold(session));
        const second = await step(2);
        const ends = [first.result, second.result, session.flush()];
        const ended = Promise.allSettled(ends);
        gates[0].open();
        await Promise.race([passed(4), ended]);
        gates[1].open();
        await Promise.all(ends);
        await session.forward(batch);
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
 * What the detector cannot see here, and test/unit/schedule shows to be needed: the host, which reads the weights when
 * a flush has ended; the flags, which a prepare writes where an update fails, and here none does; and what is in a
 * file, which is no memory.
 */
const outOfSight = (wait: string) =>
  wait.startsWith("flush: compute waits for offload's offload") ||
  wait.startsWith("flush: compute waits for write's write") ||
  wait.endsWith("prepare waits for compute's readback") ||
  /: read waits for write's write|: write waits for read's read/.test(wait);

/** Of a wait of the lanes between host memory and file, or for one of them. */
const isOfDisk = (wait: string) => /: (?:read|write) waits|waits for (?:read|write)'s/.test(wait);

/**
 * Each takes seconds. Unless ZO2_RACE_EVERY is set: of waits that differ in the unit only, the first and the last, and
 * only where units are prepared ahead, which has every kind of wait that the other way has, and more; with weights on
 * disk, the first alone, and only of those that weights in host memory do not have.
 */
function chosen(arrangement: Arrangement, prepareAhead: "on" | "off", all: readonly string[], wait: number): boolean {
  if (process.env.ZO2_RACE_EVERY) return true;
  if (prepareAhead === "off" || (arrangement === "disk" && !isOfDisk(all[wait] ?? ""))) return false;
  const pattern = (w: number) => all[w]?.replace(/\d+$/, "");
  const alike = all.flatMap((_, w) => (pattern(w) === pattern(wait) ? [w] : []));
  return wait === alike[0] || (arrangement === "host" && wait === alike.at(-1));
}

const raceBuild = DEVICE === "cuda" && loadNative().build.includes("emulated-race");
(raceBuild ? describe : describe.skip)(
  "the race detector over the schedule (ZO2_CUDA=emulated-race, ZO2_TEST_DEVICE=cuda)",
  () => {
    const title = "weights in %s, prepared ahead: %s, reports nothing as it is, and the waits that are left out";
    it.each([
      ["host", "on"],
      ["host", "off"],
      ["disk", "on"],
      ["disk", "off"],
    ] as const)(
      title,
      async (arrangement, prepareAhead) => {
        expect(await run(arrangement, prepareAhead, null)).toBeNull();
        const all = waits;
        expect(all.length).toBeGreaterThan(10);
        const unseen: string[] = [];
        for (let w = 0; w < all.length; w++) {
          if (outOfSight(all[w]) || !chosen(arrangement, prepareAhead, all, w)) continue;
          const failure = await run(arrangement, prepareAhead, w);
          if (failure === null || !/racecheck/.test(failure))
            unseen.push(`${w}. ${all[w]} (${failure ?? "nothing was reported"})`);
        }
        expect(unseen).toEqual([]);
        expect(await run(arrangement, prepareAhead, null)).toBeNull();
      },
      600_000,
    );
  },
);
