import path from "node:path";
import type { Device, Event } from "zo2/native";
import type { Passes } from "../../../src/device/passes.js";
import type { Encode } from "../../../src/device/queue.js";
import type { Model } from "../../../src/model.js";
import { fixtures, mezo, packed, readJson, sessionOf, withModel } from "./helpers.js";

const dir = path.join(fixtures, "trajectories/models/A");
const batch = [packed(readJson("trajectories", "inputs-A.json").train[0])];
const STEP = { step: 0, seed: 1n, eps: 1e-3, learningRate: 1e-3, weightDecay: 0, noise: "gaussian" } as const;
/** Two slots: unit 3 takes that of unit 1, which is free once unit 1 is prepared; unit 4 would need that of unit 2. */
const HELD = 1;

/**
 * Submits a step with the compute lane stopped in front of the forward pass of unit `HELD`. `fired` has the
 * commands that have run since ("upload 3"); `done` resolves when one has.
 */
async function held(model: Model) {
  const { device, passes } = sessionOf(model) as unknown as { readonly device: Device; readonly passes: Passes };
  const gate = device.createGate();
  const events = new Map<string, Event>();
  let stopped = false;
  const around =
    (encode: Encode): Encode =>
    (words, stream, command) => {
      const { work } = command;
      if (!stopped && work.kind === "run" && work.unit === HELD) {
        words.hold(stream, gate);
        stopped = true;
      }
      encode(words, stream, command);
      if (!("unit" in work)) return;
      const event = device.createEvent();
      words.record(stream, event);
      events.set(`${work.kind} ${work.unit}`, event);
    };
  passes.trace = { around: (_plan, _issue, _data, encode) => around(encode) };
  const { result } = await sessionOf(model).step(batch, mezo(STEP));
  const fired = new Set<string>();
  const done = async (what: string) => {
    const event = events.get(what);
    if (event === undefined) throw new Error(`the step has no ${what}`);
    await event.done();
    fired.add(what);
  };
  return { gate, fired, done, result };
}

const moment = () => new Promise((resolve) => setTimeout(resolve, 50));
const streamed = (overlap: boolean, prepareAhead: "on" | "off" = "off") =>
  ({ offload: { to: "host", wire: "fp32", slots: 2, overlap, prepareAhead } }) as const;

it("with the computation of a unit held, the uploads of the next complete, as far as there are slots", async () => {
  await withModel(dir, streamed(true), async (model) => {
    const { gate, fired, done, result } = await held(model);
    try {
      const later = [done("prepare 2"), done("upload 4"), result];
      await Promise.all([done("prepare 1"), done("upload 2"), done("upload 3")]);
      await moment();
      expect([...fired].sort()).toEqual(["prepare 1", "upload 2", "upload 3"]);
      gate.open();
      await Promise.all(later);
    } finally {
      gate.open();
    }
  });
});

it("prepared ahead, the next unit is ready before the held one runs, and the slot of that one is free", async () => {
  await withModel(dir, streamed(true, "on"), async (model) => {
    const { gate, fired, done, result } = await held(model);
    try {
      // Unit 3 is prepared where unit 1 is, which has not run.
      const later = [done("prepare 3"), result];
      await Promise.all(["prepare 1", "prepare 2", "upload 2", "upload 3", "upload 4"].map(done));
      await moment();
      expect([...fired].sort()).toEqual(["prepare 1", "prepare 2", "upload 2", "upload 3", "upload 4"]);
      gate.open();
      await Promise.all(later);
    } finally {
      gate.open();
    }
  });
});

it("without overlap the next upload does not complete before the held computation", async () => {
  await withModel(dir, streamed(false), async (model) => {
    const { gate, fired, done, result } = await held(model);
    try {
      const next = done("upload 2");
      await done("prepare 1");
      await moment();
      expect(fired.has("upload 2")).toBe(false);
      gate.open();
      await Promise.all([next, result]);
    } finally {
      gate.open();
    }
  });
});
