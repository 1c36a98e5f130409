import { schedulePass, START, type Command, type Pass } from "../../../src/schedule/pass.js";
import { issue, passOf, planOf, races, type PlanShape } from "./races.js";

const cache = (tier: "host" | "device", upload: boolean) => ({ cache: { tier, upload } });

/** Passes in a row, by what they are for. */
const runs: Record<string, Pass[]> = {
  training: [
    passOf("train"),
    ...[passOf("train"), passOf("train", { gradient: "batch" }), passOf("train")].map((p) => ({ ...p, update: true })),
    passOf("flush"),
    passOf("train"),
    passOf("train", { update: true }),
  ],
  "training with an objective of the caller's": [
    passOf("train", { gradient: "caller" }),
    passOf("flush"),
    passOf("train", { gradient: "caller" }),
    passOf("train", { gradient: "caller", update: true }),
    passOf("train"),
    passOf("train", { update: true }),
  ],
  "evaluation between steps": [
    passOf("train"),
    passOf("forward", { update: true }),
    passOf("forward", { update: true }),
    passOf("flush"),
    passOf("forward"),
    passOf("forward"),
    passOf("train"),
    passOf("forward", { perturbed: true }),
    passOf("train", { update: true }),
    passOf("forward", { update: true, perturbed: true }),
    passOf("train", { update: true }),
    passOf("forward"),
    passOf("train"),
  ],
  "generation with a cache in host memory": [
    passOf("forward", cache("host", false)),
    passOf("forward", cache("host", true)),
    passOf("forward", cache("host", true)),
    passOf("train"),
    passOf("forward", { ...cache("host", false), update: true }),
    passOf("forward", { ...cache("host", true), update: true }),
    passOf("flush"),
    passOf("forward", { ...cache("host", true), perturbed: true }),
    passOf("forward", cache("host", true)),
  ],
  "generation with a cache on the device": [
    passOf("forward", cache("device", false)),
    passOf("forward", cache("device", true)),
    passOf("train"),
    passOf("forward", { ...cache("device", false), update: true }),
    passOf("forward", cache("device", true)),
  ],
};

const plans: PlanShape[] = [
  { tier: "host", slots: 1, units: 4 },
  { tier: "host", slots: 1, units: 4, cacheSlots: 1, direct: "mixed" },
  { tier: "host", slots: 2, units: 5, cacheSlots: 2 },
  { tier: "host", slots: 3, units: 5, direct: false },
  { tier: "host", slots: 3, units: 6, direct: "mixed" },
  { tier: "host", slots: 3, units: 3, tied: false, cacheSlots: 1 },
  { tier: "host", slots: 5, units: 5 },
  { tier: "host", slots: 2, units: 5, poison: true },
  { tier: "host", slots: 2, units: 5, poison: true, direct: "mixed", cacheSlots: 1 },
  { tier: "device", slots: 0, units: 4, direct: false },
  { tier: "device", slots: 0, units: 5, cacheSlots: 2 },
  { tier: "device", slots: 0, units: 4, poison: true, direct: "mixed" },
];

describe.each(plans)("the schedule of %o", (shape) => {
  describe.each(Object.entries(runs))("in %s", (_, passes) => {
    it("orders every two commands that touch the same memory", () => {
      expect(races(issue(planOf(shape), passes))).toEqual([]);
    });

    it("has no wait that could be left out", () => {
      const list = issue(planOf(shape), passes);
      const redundant = list.flatMap((entry, i) => {
        // The test mode's waits for staging matter only where a later pass of the same ring writes it; this list ends.
        if (entry.command.kind !== "wait" || entry.command.event.startsWith("staging")) return [];
        const without = list.filter((_, j) => j !== i);
        return races(without).length === 0
          ? [`pass ${entry.pass}: ${entry.command.lane} waits for ${entry.command.event}`]
          : [];
      });
      expect(redundant).toEqual([]);
    });

    it("needs no event at all when overlap is off", () => {
      const list = issue(planOf({ ...shape, overlap: false }), passes);
      expect(new Set(list.map((e) => e.command.lane))).toEqual(new Set(["host", "compute"]));
      expect(list.filter((e) => e.command.kind === "wait")).toEqual([]);
    });
  });
});

function commandsOf(shape: PlanShape, pass: Pass): readonly Command[] {
  return schedulePass(planOf(shape), pass, START).commands;
}

function ofKind<K extends Command["kind"]>(commands: readonly Command[], kind: K): Extract<Command, { kind: K }>[] {
  return commands.filter((c): c is Extract<Command, { kind: K }> => c.kind === kind);
}

describe("a training pass", () => {
  it("lets the upload of the next unit go ahead of the computation of this one", () => {
    const uploads = commandsOf({ tier: "host", slots: 2, units: 4 }, passOf("train")).filter(
      (c) => c.lane === "upload",
    );
    const second = uploads.findIndex((c) => c.kind === "upload" && c.unit === 1);
    expect(uploads.slice(0, second).filter((c) => c.kind === "wait")).toEqual([]);
  });

  it("offloads a unit before its forward pass has run", () => {
    const commands = commandsOf({ tier: "host", slots: 2, units: 3 }, passOf("train", { update: true }));
    const wait = commands[commands.findIndex((c) => c.kind === "offload" && c.unit === 1) - 1];
    expect(wait).toEqual({ kind: "wait", lane: "offload", event: "prepared:1" });
  });

  it("neither stores nor offloads weights when nothing is pending", () => {
    const commands = commandsOf({ tier: "host", slots: 2, units: 3 }, passOf("train"));
    expect(ofKind(commands, "offload")).toEqual([]);
    expect(ofKind(commands, "prepare").map((c) => c.store)).toEqual([false, false, false]);
  });

  it("prepares every unit, whatever its wire bytes, and runs both branches from scratch", () => {
    const commands = commandsOf({ tier: "host", slots: 2, units: 4 }, passOf("train", { microBatches: 1 }));
    expect(ofKind(commands, "prepare").map((c) => c.unit)).toEqual([0, 1, 2, 3]);
    expect(ofKind(commands, "run").map((c) => [c.unit, c.branch, c.direct])).toEqual(
      [0, 1, 2, 3].flatMap((u) => [
        [u, 0, false],
        [u, 1, false],
      ]),
    );
  });

  it.each([
    ["losses", 4, 1, 0],
    ["batch", 4, 1, 1],
    ["caller", 0, 0, 0],
  ] as const)(
    "whose gradient is the %s' computes %d losses, %d gradients and takes %d from outside",
    (gradient, losses, gradients, injected) => {
      const commands = commandsOf({ tier: "host", slots: 2, units: 3 }, passOf("train", { gradient }));
      const counts = (["loss", "gradient", "inject"] as const).map((kind) => ofKind(commands, kind).length);
      expect(counts).toEqual([losses, gradients, injected]);
      expect(ofKind(commands, "run").filter((c) => c.branch === 1)).toHaveLength(6);
    },
  );
});

const streams: PlanShape = { tier: "host", slots: 2, units: 5 };
const rests: PlanShape = { tier: "device", slots: 0, units: 5 };

describe.each([
  ["streamed", streams],
  ["resident", rests],
  ["streamed in another dtype", { ...streams, direct: false }],
  ["streamed in part in another dtype", { ...streams, direct: "mixed" }],
] as const)("a forward pass over weights that are %s", (_, shape) => {
  const caches = [null, { tier: "host", upload: true }, { tier: "device", upload: true }] as const;
  const variants = [false, true].flatMap((update) =>
    [false, true].flatMap((perturbed) => caches.map((cache) => passOf("forward", { update, perturbed, cache }))),
  );

  it("offloads and stores nothing, and runs one branch", () => {
    for (const pass of variants) {
      const commands = commandsOf(shape, pass);
      expect(ofKind(commands, "offload")).toEqual([]);
      expect([...ofKind(commands, "loss"), ...ofKind(commands, "gradient"), ...ofKind(commands, "inject")]).toEqual([]);
      expect(ofKind(commands, "prepare").filter((c) => c.store)).toEqual([]);
      const once = planOf(shape).units.flatMap((_, u) => [
        [u, 0, 0],
        [u, 1, 0],
      ]);
      expect(ofKind(commands, "run").map((c) => [c.unit, c.microBatch, c.branch])).toEqual(once);
    }
  });

  it(
    "prepares a unit whose wire bytes its program can read only where something is pending or the weights stand " +
      "aside",
    () => {
      const { units } = planOf(shape);
      for (const pass of variants) {
        const commands = commandsOf(shape, pass);
        const needed = units.flatMap((unit, u) => (unit.direct && !pass.update && !pass.perturbed ? [] : [u]));
        expect(ofKind(commands, "prepare").map((c) => [c.unit, c.update])).toEqual(needed.map((u) => [u, pass.update]));
        for (const run of ofKind(commands, "run"))
          expect([run.unit, run.direct]).toEqual([run.unit, !needed.includes(run.unit)]);
      }
    },
  );

  it("runs an unprepared unit where its bytes are: in the slot they came to, or at rest", () => {
    for (const { direct, unit, slot } of ofKind(commandsOf(shape, passOf("forward")), "run")) {
      if (direct) expect(slot).toBe(shape.tier === "host" ? unit % shape.slots : null);
    }
  });
});

describe("a pass with a key/value cache", () => {
  const pieces = (commands: readonly Command[], kind: "uploadCache" | "offloadCache") =>
    ofKind(commands, kind).map((c) => [c.unit, c.slot]);

  it("in host memory brings a unit's piece where earlier passes left something, and takes what was added", () => {
    for (const upload of [false, true]) {
      const commands = commandsOf({ ...streams, cacheSlots: 2 }, passOf("forward", cache("host", upload)));
      expect(pieces(commands, "uploadCache")).toEqual(
        upload
          ? [
              [1, 0],
              [2, 1],
              [3, 0],
            ]
          : [],
      );
      expect(pieces(commands, "offloadCache")).toEqual([
        [1, 0],
        [2, 1],
        [3, 0],
      ]);
      expect(ofKind(commands, "run").map((c) => [c.unit, c.cacheSlot])).toEqual([
        [0, null],
        [0, null],
        [1, 0],
        [1, 0],
        [2, 1],
        [2, 1],
        [3, 0],
        [3, 0],
        [4, null],
        [4, null],
      ]);
    }
  });

  it("on the device moves nothing of it", () => {
    const commands = commandsOf(streams, passOf("forward", cache("device", true)));
    expect([...ofKind(commands, "uploadCache"), ...ofKind(commands, "offloadCache")]).toEqual([]);
    expect(new Set(ofKind(commands, "run").map((c) => c.cacheSlot))).toEqual(new Set([null]));
  });

  it("lets the piece of the next unit come while this one runs", () => {
    const commands = commandsOf(streams, passOf("forward", cache("host", true)));
    const upload = commands.filter((c) => c.lane === "upload");
    const before = upload.slice(
      0,
      upload.findIndex((c) => c.kind === "uploadCache" && c.unit === 2),
    );
    expect(before.filter((c) => c.kind === "wait" && c.event.startsWith("ran"))).toEqual([]);
  });
});

it("a flush runs nothing and offloads every unit", () => {
  const commands = commandsOf(streams, passOf("flush"));
  expect([...ofKind(commands, "run"), ...ofKind(commands, "inputs"), ...ofKind(commands, "gather")]).toEqual([]);
  expect(ofKind(commands, "prepare").map((c) => [c.unit, c.store, c.scratch])).toEqual(
    [0, 1, 2, 3, 4].map((u) => [u, true, false]),
  );
  expect(ofKind(commands, "offload").map((c) => c.unit)).toEqual([0, 1, 2, 3, 4]);
});
