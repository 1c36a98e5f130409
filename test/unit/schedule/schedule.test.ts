import type { Lane, Work } from "../../../src/schedule/command.js";
import type { Pass } from "../../../src/schedule/facts.js";
import { nameOf } from "../../../src/schedule/resource.js";
import { passCommands } from "../../../src/schedule/pass.js";
import { stepStates } from "../../../src/memory/control.js";
import { UpdateLog } from "../../../src/method/index.js";
import {
  issue,
  misdeclared,
  passOf,
  planOf,
  races,
  readsOfPoison,
  waitsOf,
  type Entry,
  type PlanShape,
} from "./races.js";
import { drawing } from "../../support/drawing.js";

// Mutants meet a few of what is random: each of them runs this file anew.
const FEW = process.env["ZO2_TEST_FEW"] !== undefined;

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
  "training that writes back every third visit": [
    ...[0, 1, 2, 3, 1, 2, 3].map((update) => passOf("train", { update, stores: update === 3 })),
    passOf("forward", { update: 1 }),
    passOf("train", { update: 1, stores: false }),
    passOf("flush", { update: 2 }),
    passOf("forward", { update: 1 }),
    passOf("train", { update: 1, stores: false, gradient: "caller" }),
    passOf("flush", { update: 2 }),
    passOf("train"),
  ],
  "training with an objective of the caller's": [
    passOf("train", { gradient: "caller" }),
    passOf("flush"),
    passOf("train", { gradient: "caller" }),
    passOf("train", { gradient: "caller", update: true }),
    passOf("train"),
    passOf("train", { update: true }),
  ],
  "training along two directions": [
    passOf("train", { directions: 2 }),
    passOf("train", { directions: 2, update: true, microBatches: 1 }),
    passOf("flush"),
    passOf("train", { directions: 2 }),
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

const shapes: PlanShape[] = [
  { tier: "host", slots: 1, units: 4 },
  { tier: "host", slots: 1, units: 4, cacheSlots: 1, direct: "mixed" },
  { tier: "host", slots: 2, units: 5, cacheSlots: 2 },
  { tier: "host", slots: 3, units: 5, direct: false },
  { tier: "host", slots: 3, units: 6, direct: "mixed" },
  { tier: "host", slots: 3, units: 3, tied: false, cacheSlots: 1 },
  { tier: "host", slots: 5, units: 5 },
  { tier: "host", slots: 2, units: 5, poison: true },
  { tier: "host", slots: 2, units: 5, poison: true, direct: "mixed", cacheSlots: 1 },
  { tier: "host", slots: 2, units: 6, frozen: [0, 1, 3] },
  { tier: "host", slots: 2, units: 6, frozen: [1, 2, 5], direct: false, poison: true },
  { tier: "mixed", slots: 2, units: 7 },
  { tier: "mixed", slots: 1, units: 7, direct: "mixed", cacheSlots: 1, frozen: [2, 4] },
  { tier: "mixed", slots: 2, units: 8, poison: true, tied: false },
  { tier: "disk", slots: 3, units: 6 },
  { tier: "disk", slots: 2, units: 5, hostSlots: 1, cacheSlots: 2, direct: false },
  { tier: "disk", slots: 1, units: 4, direct: "mixed", poison: true },
  { tier: "disk", slots: 3, units: 7, poison: true, frozen: [0, 3, 6] },
  { tier: "disk", slots: 3, units: 5, tied: false, frozen: [1, 2] },
  { tier: "blend", slots: 2, units: 9 },
  { tier: "blend", slots: 3, units: 13, poison: true, direct: "mixed" },
  { tier: "blend", slots: 2, units: 8, hostSlots: 1, tied: false, poison: true },
  { tier: "host", slots: 1, units: 3, carriedSlots: 1 },
  { tier: "host", slots: 2, units: 4, carriedSlots: 3, cacheSlots: 2, direct: "mixed" },
  { tier: "mixed", slots: 2, units: 4, carriedSlots: 2, poison: true, frozen: [2] },
  { tier: "disk", slots: 2, units: 3, carriedSlots: 3, hostSlots: 1, tied: false },
  { tier: "device", slots: 0, units: 3, carriedSlots: 3, poison: true, cacheSlots: 1 },
  { tier: "device", slots: 0, units: 4, direct: false },
  { tier: "device", slots: 0, units: 5, cacheSlots: 2, frozen: [2] },
  { tier: "device", slots: 0, units: 4, poison: true, direct: "mixed" },
];

const plans = shapes.flatMap((shape) => [shape, { ...shape, prepareAhead: true }]);

describe.each(plans)("the schedule of %o", (shape) => {
  describe.each(Object.entries(runs))("in %s", (_, passes) => {
    it("orders every two commands that touch the same memory", () => {
      expect(races(issue(planOf(shape), passes))).toEqual([]);
    });

    it("has no wait that could be left out", () => {
      const list = issue(planOf(shape), passes);
      const waits = waitsOf(list);
      const redundant = list.flatMap((entry, i) => {
        // That staging memory is free is redundant only where a flush comes before the next pass of the same ring.
        if (entry.command.kind !== "wait" || waits.get(entry)?.includes("poison staging")) return [];
        const without = list.filter((_, j) => j !== i);
        return races(without, "first").length === 0 ? [`pass ${entry.pass}: ${waits.get(entry)}`] : [];
      });
      expect(redundant).toEqual([]);
    });

    it("declares what each of its commands touches", () => {
      const { plan } = planOf(shape);
      for (const pass of passes) expect(misdeclared(plan, pass, passCommands(plan, pass))).toEqual([]);
    });

    it("reads nothing that it has poisoned, and poisons every slot once it is done with it", () => {
      const { plan } = planOf({ ...shape, poison: true });
      expect(readsOfPoison(plan, passes)).toEqual([]);
      for (const pass of passes) {
        const list = passCommands(plan, pass).map(({ work }) => work);
        expect(poisonedOf(list, "slot")).toEqual(movesOf(list, "upload", "weights").map(([, slot]) => slot));
        const left = [...ofKind(list, "read"), ...ofKind(list, "write")].map(({ hostSlot }) => hostSlot);
        expect(poisonedOf(list, "hostSlot").sort()).toEqual(left.sort());
        const worked = ofKind(list, "run").flatMap(({ carriedSlot }) => carriedSlot ?? []);
        expect(poisonedOf(list, "carriedSlot")).toEqual(worked);
      }
    });

    it("needs no event but the last of a pass when overlap is off", () => {
      const list = issue({ ...planOf(shape), overlap: false }, passes);
      expect(new Set(list.map((e) => e.command.lane))).toEqual(new Set(["host", "compute"]));
      expect(list.filter((e) => e.command.kind === "wait")).toEqual([]);
      expect(list.filter((e) => e.command.kind === "record")).toHaveLength(passes.length);
    });
  });
});

/** Passes as a session makes them of steps, evaluations and flushes, with the states that it gives to steps. */
function randomRun(draw: (below: number) => number, every: number): Pass[] {
  const states = stepStates(every);
  const log = new UpdateLog<null>(every);
  let last = -1;
  return Array.from({ length: 14 }, (): Pass => {
    const pending = log.taken.map(({ state }) => state);
    const what = draw(5);
    if (what === 0 && pending.length > 0) {
      log.stored(pending.length);
      return { ...passOf("flush"), pending };
    }
    if (what === 1) return { ...passOf("forward", { perturbed: draw(2) === 0 }), pending };
    const gradient = (["losses", "batch"] as const)[draw(2)];
    const stores = log.full;
    const state = (last + 1) % states;
    if (stores) log.stored(pending.length);
    log.add({ ...{ state, step: 0, seed: 0n, noise: null, directions: 1, learningRate: 0, weightDecay: 0 } });
    log.commit();
    last = state;
    return { ...passOf("train", { gradient, stores, microBatches: 1 + draw(2) }), pending, state };
  });
}

it.each(Array.from({ length: FEW ? 5 : 40 }, (_, seed) => seed))(
  "random plan and run %d: no race, and none by a wait less",
  (seed) => {
    const draw = drawing(seed);
    const units = 3 + draw(6);
    const shape: PlanShape = {
      ...{ units, tier: (["host", "mixed", "device", "disk", "blend"] as const)[draw(5)], slots: 1 + draw(4) },
      hostSlots: 1 + draw(3),
      ...{ poison: draw(3) === 0, tied: draw(2) === 0, prepareAhead: draw(2) === 0 },
      ...{ direct: ([true, false, "mixed"] as const)[draw(3)], carriedSlots: draw(2) * (1 + draw(3)) },
      frozen: Array.from({ length: units }, (_, u) => u).filter(() => draw(4) === 0),
    };
    const list = issue(planOf(shape), randomRun(draw, [1, 2, 7][draw(3)]));
    expect(races(list)).toEqual([]);
    const waits = waitsOf(list);
    const needed = list.filter(
      (entry) => entry.command.kind === "wait" && !waits.get(entry)?.includes("poison staging"),
    );
    // Each takes a while: some of them.
    for (const entry of needed.filter((_, w) => (w + seed) % 7 === 0))
      expect([
        waits.get(entry),
        races(
          list.filter((other) => other !== entry),
          "first",
        ).length > 0,
      ]).toEqual([waits.get(entry), true]);
  },
);

type Kind = Work["kind"];

/** What a pass does, in order, whatever it has to wait for. */
function workOf(shape: PlanShape, pass: Pass): readonly Work[] {
  return passCommands(planOf(shape).plan, pass).map(({ work }) => work);
}

function ofKind<K extends Kind>(list: readonly Work[], kind: K): Extract<Work, { kind: K }>[] {
  return list.filter((work): work is Extract<Work, { kind: K }> => work.kind === kind);
}

function movesOf(list: readonly Work[], kind: "upload" | "offload", what: "weights" | "cache") {
  return ofKind(list, kind).flatMap((work) => (work.what === what ? [[work.unit, work.slot]] : []));
}

function poisonedOf(list: readonly Work[], what: "slot" | "carriedSlot" | "hostSlot"): number[] {
  return ofKind(list, "poison").flatMap((work) => (work.what === what && "index" in work ? [work.index] : []));
}

/** The commands of one lane in front of the first that `is` finds. */
function ahead(list: readonly Entry[], lane: Lane, is: (work: Work) => boolean): readonly Entry[] {
  const own = list.filter(({ command }) => command.lane === lane);
  const end = own.findIndex(({ command }) => command.kind === "work" && is(command.work));
  expect(end).toBeGreaterThanOrEqual(0);
  return own.slice(0, end);
}

const onlyWaits = (list: readonly Entry[]) => list.filter(({ command }) => command.kind === "wait");

it("visits those units alone in a flush that lack something", () => {
  const { plan } = planOf({ tier: "blend", slots: 2, units: 6 });
  const flushed = (only?: readonly number[]) => {
    const pass = { ...passOf("flush"), ...(only === undefined ? {} : { only }) };
    return ofKind(
      passCommands(plan, pass).map(({ work }) => work),
      "prepare",
    ).map(({ unit }) => unit);
  };
  expect(flushed()).toEqual([0, 1, 2, 3, 4, 5]);
  expect(flushed([4, 1])).toEqual([1, 4]);
  expect(flushed([])).toEqual([]);
  const some = issue(planOf({ tier: "blend", slots: 2, units: 6 }), [
    passOf("train", { update: true }),
    { ...passOf("flush"), only: [1, 4] },
    { ...passOf("flush"), only: [0, 2] },
    passOf("train", { update: true }),
  ]);
  expect(races(some)).toEqual([]);
});

describe("a training pass", () => {
  const upload = (unit: number) => (work: Work) => work.kind === "upload" && work.unit === unit;

  it("lets the upload of the next unit go ahead of the computation of this one", () => {
    const list = issue(planOf({ tier: "host", slots: 2, units: 4 }), [passOf("train")]);
    expect(onlyWaits(ahead(list, "upload", upload(1)))).toEqual([]);
    const waits = waitsOf(list);
    const third = onlyWaits(ahead(list, "upload", upload(2))).map((entry) => waits.get(entry));
    expect(third).toEqual(["upload waits for compute's prepare 0"]);
  });

  it("lets the first uploads go ahead of the gathered rows, which wait for the head to be taken", () => {
    for (const [slots, units] of [
      [3, 2],
      [2, 1],
      [6, 2],
    ]) {
      const update = passOf("train", { update: true });
      const list = issue(planOf({ tier: "host", slots, units: 6 }), [update, update]);
      const waits = waitsOf(list);
      const second = list.filter(({ pass }) => pass === 1);
      const first = ahead(second, "upload", (work) => work.kind === "gather");
      const brought = first.flatMap(({ command }) =>
        command.kind === "work" && command.work.kind === "upload" ? [command.work.unit] : [],
      );
      expect(brought).toEqual(Array.from({ length: units }, (_, unit) => unit));
      // What the lane waits for in front of its last upload, and then for the gather.
      const waited = onlyWaits(first);
      const last = first.findLastIndex(({ command }) => command.kind === "work");
      const upTo = waited.filter((entry) => first.indexOf(entry) < last).map((entry) => waits.get(entry));
      expect(upTo).not.toContainEqual(expect.stringContaining("offload weights 5"));
      expect(waits.get(waited.at(-1) as Entry)).toBe("upload waits for offload's offload weights 5");
    }
  });

  const reading = (unit: number) => (work: Work) => work.kind === "read" && work.unit === unit;

  it("reads units on disk ahead, as far as host slots go, and writes them behind", () => {
    const list = issue(planOf({ tier: "disk", slots: 3, units: 5, tied: false }), [passOf("train", { update: true })]);
    const waits = waitsOf(list);
    const waited = (lane: Lane, is: (work: Work) => boolean) =>
      onlyWaits(ahead(list, lane, is)).map((entry) => waits.get(entry));
    expect(waited("read", reading(1))).toEqual([]);
    expect(waited("read", reading(3))).toEqual([0, 1].map((unit) => `read waits for upload's upload weights ${unit}`));
    expect(waited("write", (work) => work.kind === "write" && work.unit === 1)).toEqual(
      [0, 1].map((unit) => `write waits for offload's offload weights ${unit}`),
    );
    // A slot that is written from is free once that is done: no other read or write stands between.
    const own = waited("offload", (work) => work.kind === "offload" && work.unit === 2);
    expect(own.filter((wait) => wait?.includes("write"))).toEqual(["offload waits for write's write 0"]);
  });

  it("reads what there is a host slot for ahead of the gathered rows, which wait for the head to be written", () => {
    for (const [slots, hostSlots, read] of [
      [3, 2, [0, 1, 2, 3]],
      [3, 1, [0, 1, 2]],
      [2, 2, [0, 1, 2]],
      [2, 1, [0, 1]],
    ] as const) {
      const update = passOf("train", { update: true });
      const list = issue(planOf({ tier: "disk", slots, units: 6, hostSlots }), [update, update]);
      const waits = waitsOf(list);
      const second = list.filter(({ pass }) => pass === 1);
      const first = ahead(second, "read", (work) => work.kind === "readGathered");
      const units = first.flatMap(({ command }) =>
        command.kind === "work" && command.work.kind === "read" ? [command.work.unit] : [],
      );
      expect([slots, hostSlots, units]).toEqual([slots, hostSlots, read]);
      expect(waits.get(onlyWaits(first).at(-1) as Entry)).toBe("read waits for write's write 5");
    }
  });

  it("gathers rows on their way to the device where some of their units are on disk, and only those", () => {
    const { plan } = planOf({ tier: "host", slots: 3, units: 5 });
    const units = plan.units.map((unit, u) => (u === 4 ? { ...unit, staging: { read: 0, write: 1 } } : unit));
    const mixed = { ...plan, units, gatherSources: [3, 4] };
    const list = passCommands(mixed, passOf("train")).filter(({ work }) => /gather/i.test(work.kind));
    const texts = list.map(({ lane, work, reads, writes }) => [
      `${lane} ${work.kind}`,
      ...[reads, writes].map((of) => of.map(nameOf).join(", ")),
    ]);
    expect(texts.slice(0, 2)).toEqual([
      ["read readGathered", "staging 0, rest 4", "hostGathered 0"],
      ["upload gather", "staging 0, rest 3, hostGathered 0", "gathered 0"],
    ]);
  });

  it("gathers first where no earlier pass can be storing, or where the first slot is the head's", () => {
    const order = (units: number, pass: Pass) =>
      workOf({ tier: "host", slots: 3, units }, pass).flatMap(({ kind }) =>
        kind === "upload" || kind === "gather" ? [kind] : [],
      );
    expect(order(6, passOf("forward"))[0]).toBe("gather");
    expect(order(7, passOf("train", { update: true }))[0]).toBe("gather");
    expect(order(6, passOf("forward", { update: true }))[0]).toBe("upload");
  });

  it("offloads a unit before its forward pass has run", () => {
    const list = issue(planOf({ tier: "host", slots: 2, units: 3 }), [passOf("train", { update: true })]);
    const waits = waitsOf(list);
    const first = ahead(list, "offload", (work) => work.kind === "offload" && work.unit === 1);
    expect(onlyWaits(first).map((entry) => waits.get(entry))).toEqual(
      [0, 1].map((unit) => `offload waits for compute's prepare ${unit}`),
    );
  });

  it("prepares the next unit while this one runs, on a lane of its own, into the other set of scratches", () => {
    const shape: PlanShape = { tier: "host", slots: 3, units: 5, tied: false, prepareAhead: true };
    const pass = passOf("train", { update: true, microBatches: 1 });
    const work = passCommands(planOf(shape).plan, pass);
    const lanes = work.flatMap(({ lane, work: { kind } }) => (kind === "prepare" ? [lane] : []));
    expect(lanes).toEqual(Array(5).fill("prepare"));
    expect(ofKind(workOf(shape, pass), "prepare").map(({ set }) => set)).toEqual([0, 1, 0, 1, 0]);
    const runs = ofKind(workOf(shape, pass), "run");
    expect(runs.map(({ unit, scratch }) => [unit, scratch])).toEqual(
      [0, 1, 2, 3, 4].flatMap((unit) => [0, 1].map((side) => [unit, 2 * (unit % 2) + side])),
    );
    const list = issue(planOf(shape), [pass]);
    const waits = waitsOf(list);
    const prepared = (unit: number) => (work: Work) => work.kind === "prepare" && work.unit === unit;
    const waited = (unit: number) => {
      const [before, own] = [unit - 1, unit].map((u) => ahead(list, "prepare", prepared(u)).length);
      return ahead(list, "prepare", prepared(unit))
        .slice(before, own)
        .flatMap((entry) => waits.get(entry) ?? []);
    };
    expect(waited(1)).toEqual(["prepare waits for upload's upload weights 1"]);
    expect(waited(2)).toEqual(["prepare waits for upload's upload weights 2", "prepare waits for compute's run 0"]);
  });

  it("neither stores nor offloads weights when nothing is pending", () => {
    const list = workOf({ tier: "host", slots: 2, units: 3 }, passOf("train"));
    expect(ofKind(list, "offload")).toEqual([]);
    expect(ofKind(list, "prepare").map((work) => work.store)).toEqual([false, false, false]);
  });

  it("prepares every unit, whatever its wire bytes, and runs both probes from scratch", () => {
    const list = workOf({ tier: "host", slots: 2, units: 4 }, passOf("train", { microBatches: 1 }));
    expect(ofKind(list, "prepare").map((work) => work.unit)).toEqual([0, 1, 2, 3]);
    expect(ofKind(list, "run").map((work) => [work.unit, work.probe, work.scratch])).toEqual(
      [0, 1, 2, 3].flatMap((unit) => [
        [unit, 0, 0],
        [unit, 1, 1],
      ]),
    );
  });

  it.each([
    ["losses", 4, 1, 0],
    ["batch", 4, 1, 1],
    ["caller", 0, 0, 0],
  ] as const)(
    "whose gradient is the %s' computes %d losses, %d coefficients and takes %d from outside",
    (gradient, losses, coefficients, injected) => {
      const list = workOf({ tier: "host", slots: 2, units: 3 }, passOf("train", { gradient }));
      const counts = (["loss", "coefficients", "inject"] as const).map((kind) => ofKind(list, kind).length);
      expect(counts).toEqual([losses, coefficients, injected]);
      expect(ofKind(list, "run").filter(({ probe }) => probe === 1)).toHaveLength(6);
    },
  );

  it("only reads a unit in which nothing is trained: no perturbation, no store, no offload", () => {
    const shape: PlanShape = { tier: "host", slots: 2, units: 5, frozen: [1, 3] };
    const list = workOf(shape, passOf("train", { update: true, microBatches: 1 }));
    expect(movesOf(list, "upload", "weights").map(([unit]) => unit)).toEqual([0, 1, 2, 3, 4]);
    expect(movesOf(list, "offload", "weights").map(([unit]) => unit)).toEqual([0, 2, 4]);
    expect(ofKind(list, "prepare").map(({ unit }) => unit)).toEqual([0, 2, 4]);
    const runs = ofKind(list, "run").map(({ unit, scratch }) => `${unit}:${scratch}`);
    expect(runs.filter((run) => /[13]:/.test(run))).toEqual(["1:null", "1:null", "3:null", "3:null"]);
  });

  it("translates such a unit once for both probes where its program cannot read its wire bytes", () => {
    const shape: PlanShape = { tier: "host", slots: 2, units: 4, frozen: [2], direct: false };
    const list = workOf(shape, passOf("train", { update: true, microBatches: 1 }));
    const prepare = ofKind(list, "prepare").find(({ unit }) => unit === 2);
    expect(prepare).toMatchObject({ update: false, store: false, direction: null, signs: [0] });
    const runs = ofKind(list, "run").filter(({ unit }) => unit === 2);
    expect(runs.map(({ probe, scratch }) => [probe, scratch])).toEqual([
      [0, 0],
      [1, 0],
    ]);
  });
});

const streams: PlanShape = { tier: "host", slots: 2, units: 5 };
const rests: PlanShape = { tier: "device", slots: 0, units: 5 };

describe.each([
  ["streamed", streams],
  ["resident", rests],
  ["streamed in part", { ...streams, tier: "mixed" }],
  ["streamed in another dtype", { ...streams, direct: false }],
  ["streamed in part in another dtype", { ...streams, direct: "mixed" }],
] as const)("a forward pass over weights that are %s", (_, shape: PlanShape) => {
  const caches = [undefined, { tier: "host", upload: true }, { tier: "device", upload: true }] as const;
  const variants = [false, true].flatMap((update) =>
    [false, true].flatMap((perturbed) =>
      caches.map((cache) => ({ update, perturbed, pass: passOf("forward", { update, perturbed, cache }) })),
    ),
  );

  it("offloads and stores nothing, and runs one probe", () => {
    for (const { pass } of variants) {
      const list = workOf(shape, pass);
      expect(movesOf(list, "offload", "weights")).toEqual([]);
      expect([...ofKind(list, "loss"), ...ofKind(list, "coefficients"), ...ofKind(list, "inject")]).toEqual([]);
      expect(ofKind(list, "prepare").filter((work) => work.store)).toEqual([]);
      const once = planOf(shape).plan.units.flatMap((_, u) => [
        [u, 0, 0],
        [u, 1, 0],
      ]);
      expect(ofKind(list, "run").map((work) => [work.unit, work.microBatch, work.probe])).toEqual(once);
    }
  });

  it(
    "prepares a unit whose wire bytes its program can read only where something is pending or the weights stand " +
      "aside",
    () => {
      const { units } = planOf(shape).plan;
      for (const { update, perturbed, pass } of variants) {
        const list = workOf(shape, pass);
        const needed = units.flatMap((unit, u) => (unit.direct && !update && !perturbed ? [] : [u]));
        expect(ofKind(list, "prepare").map((work) => [work.unit, work.update])).toEqual(needed.map((u) => [u, update]));
        for (const run of ofKind(list, "run"))
          expect([run.unit, run.scratch]).toEqual([run.unit, needed.includes(run.unit) ? 0 : null]);
      }
    },
  );

  it("runs an unprepared unit where its bytes are: in the slot they came to, or at rest", () => {
    const { units } = planOf(shape).plan;
    for (const { scratch, unit, slot } of ofKind(workOf(shape, passOf("forward")), "run"))
      if (scratch === null) expect(slot).toBe(units[unit].slot);
  });
});

it("moves only the units whose bytes do not rest on the device", () => {
  const list = workOf({ tier: "mixed", slots: 2, units: 6 }, passOf("train", { update: true }));
  const moved = [
    [0, 0],
    [2, 1],
    [3, 0],
    [5, 1],
  ];
  expect(movesOf(list, "upload", "weights")).toEqual(moved);
  expect(movesOf(list, "offload", "weights")).toEqual(moved);
  expect(ofKind(list, "prepare").map(({ unit, store }) => [unit, store])).toEqual(
    [0, 1, 2, 3, 4, 5].map((unit) => [unit, true]),
  );
});

describe("a pass with a key/value cache", () => {
  it("in host memory brings a unit's piece where earlier passes left something, and takes what was added", () => {
    for (const upload of [false, true]) {
      const list = workOf({ ...streams, cacheSlots: 2 }, passOf("forward", cache("host", upload)));
      const pieces = [
        [1, 0],
        [2, 1],
        [3, 0],
      ];
      expect(movesOf(list, "upload", "cache")).toEqual(upload ? pieces : []);
      expect(movesOf(list, "offload", "cache")).toEqual(pieces);
      expect(ofKind(list, "run").map((work) => [work.unit, work.cacheSlot])).toEqual([
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
    const list = workOf(streams, passOf("forward", cache("device", true)));
    expect([...movesOf(list, "upload", "cache"), ...movesOf(list, "offload", "cache")]).toEqual([]);
    expect(new Set(ofKind(list, "run").map((work) => work.cacheSlot))).toEqual(new Set([null]));
  });

  it("lets the piece of the next unit come while this one runs", () => {
    const list = issue(planOf(streams), [passOf("forward", cache("host", true))]);
    const piece = ahead(list, "upload", (work) => work.kind === "upload" && work.what === "cache" && work.unit === 2);
    const waits = waitsOf(list);
    expect(onlyWaits(piece).filter((entry) => waits.get(entry)?.includes("run"))).toEqual([]);
  });
});

describe("a pass whose activations rest elsewhere", () => {
  const elsewhere: PlanShape = { tier: "host", slots: 2, units: 4, tied: false, carriedSlots: 3 };

  it("works with each area as the unit before has left it, and leaves it for the next", () => {
    for (const carriedSlots of [1, 2, 3])
      for (const microBatches of [1, 3])
        for (const directions of [1, 2]) {
          const list = workOf({ ...elsewhere, carriedSlots }, passOf("train", { microBatches, directions }));
          // By place, which unit has written it last, and for which area.
          const places = new Map<string, string>();
          const areaOf = ({ probe, microBatch }: { probe: number; microBatch: number }) => `${probe}.${microBatch}`;
          for (const work of list) {
            if ((work.kind === "upload" || work.kind === "offload") && work.what === "carried") {
              const [rest, slot] = [`rest ${areaOf(work)}`, `slot ${work.slot}`];
              const [to, from] = work.kind === "upload" ? [slot, rest] : [rest, slot];
              places.set(to, places.get(from) ?? "nothing");
            }
            if (work.kind !== "run") continue;
            const slot = `slot ${work.carriedSlot}`;
            if (work.unit > 0) expect(places.get(slot)).toBe(`area ${areaOf(work)} of unit ${work.unit - 1}`);
            places.set(slot, `area ${areaOf(work)} of unit ${work.unit}`);
          }
          expect(ofKind(list, "run")).toHaveLength(4 * 2 * directions * microBatches);
          const moved = list.filter((work) => "what" in work && work.what === "carried");
          expect(moved).toHaveLength(2 * 3 * 2 * directions * microBatches);
        }
  });

  it("runs units, probes and micro-batches in the same order as one that has them where it works", () => {
    const runsOf = (shape: PlanShape) =>
      ofKind(workOf(shape, passOf("train", { directions: 2 })), "run").map(({ carriedSlot: _, ...run }) => run);
    expect(runsOf(elsewhere)).toEqual(runsOf({ ...elsewhere, carriedSlots: 0 }));
  });

  it("lets an area come and another go while a third is worked with", () => {
    const list = issue(planOf(elsewhere), [passOf("train", { microBatches: 3 })]);
    const waits = waitsOf(list);
    // The sixth area of a unit: its slot was that of the third, which is on its way back.
    const comes = ahead(list, "upload", (work) => isArea(work, "upload", 1, { probe: 1, microBatch: 2 }));
    const last = onlyWaits(comes).map((entry) => waits.get(entry));
    expect(last.filter((wait) => wait?.includes("compute's run 1"))).toEqual([]);
    expect(last.at(-1)).toBe("upload waits for offload's offload carried 1");
  });

  const isArea = (work: Work, kind: Kind, unit: number, area: { probe: number; microBatch: number }) =>
    work.kind === kind &&
    "what" in work &&
    work.what === "carried" &&
    work.unit === unit &&
    work.probe === area.probe &&
    work.microBatch === area.microBatch;

  it("brings the next unit ahead of the areas that this one works with, where it has a slot of its own", () => {
    for (const slots of [1, 2, 3]) {
      const list = passCommands(planOf({ ...elsewhere, slots }).plan, passOf("train", { update: true }));
      const order = list.flatMap(({ lane, work }) =>
        lane === "upload" && work.kind === "upload" ? [`${work.what} ${work.unit}`] : [],
      );
      const [weights, areas] = ["weights 2", "carried 1"].map((text) => order.indexOf(text));
      expect([slots, weights < areas]).toEqual([slots, slots > 1]);
    }
  });
});

describe("a flush", () => {
  it("runs nothing and offloads every unit", () => {
    const list = workOf(streams, passOf("flush"));
    expect([...ofKind(list, "run"), ...ofKind(list, "inputs"), ...ofKind(list, "gather")]).toEqual([]);
    expect(ofKind(list, "prepare").map((work) => [work.unit, work.store, work.signs])).toEqual(
      [0, 1, 2, 3, 4].map((u) => [u, true, []]),
    );
    expect(movesOf(list, "offload", "weights").map(([unit]) => unit)).toEqual([0, 1, 2, 3, 4]);
  });

  it("leaves alone what is not trained", () => {
    const list = workOf({ ...streams, frozen: [0, 2, 3] }, passOf("flush"));
    expect(movesOf(list, "upload", "weights").map(([unit]) => unit)).toEqual([1, 4]);
    expect(movesOf(list, "offload", "weights").map(([unit]) => unit)).toEqual([1, 4]);
    expect(ofKind(list, "prepare").map(({ unit }) => unit)).toEqual([1, 4]);
  });
});
