import { doneEvent, hostSaw, schedulePass, START, type Command, type Frontier, type Pass, type SchedulePlan } from "../../../src/schedule/schedule.js";

/** What a command touches, said a second time and independently of the schedule: memory by name, "r" or "w". */
function touches(plan: SchedulePlan, pass: Pass, command: Command): { name: string; write: boolean }[] {
  const w = (name: string) => ({ name, write: true });
  const r = (name: string) => ({ name, write: false });
  const rest = (u: number) => (plan.tier === "host" ? `host ${u}` : `device ${u}`);
  const wire = (u: number, slot: number | null) => (slot === null ? `device ${u}` : `slot ${slot}`);
  switch (command.kind) {
    case "inputs": return [r(`staging ${command.ring}`), w(`inputs ${command.ring}`)];
    case "gather": return [r(`staging ${command.ring}`), ...plan.gatherSources.map((u) => r(rest(u))), w("gathered")];
    case "upload": return [r(rest(command.unit)), w(wire(command.unit, command.slot))];
    case "prepare": return [{ name: wire(command.unit, command.slot), write: command.update }, ...(command.scratch ? [w("scratch")] : []), r("state"), w("sticky")];
    case "prepareGathered": return [r("gathered"), r(`inputs ${command.ring}`), w("scratch"), r("state"), w("sticky")];
    case "run": return [r("scratch"), r(`inputs ${command.ring}`), w("activations"), w("results")];
    case "loss": return [r("results"), r(`inputs ${command.ring}`), w("state")];
    case "gradient": return [w("state"), w("sticky")];
    case "inject": return [r(`inputs ${command.ring}`), w("state")];
    case "offload": return [r(wire(command.unit, command.slot)), w(rest(command.unit))];
    case "readback": return [r("state"), r("sticky"), ...(pass.kind === "forward" ? [r("results")] : []), w(`readback ${command.ring}`)];
    case "poison": return command.what === "slot" ? [w(`slot ${command.index}`)] : command.what === "staging" ? [w(`staging ${command.index}`)] : [w("scratch"), w("activations")];
    case "record": case "wait": return [];
  }
}

/** A command, or what JavaScript does before it submits a pass: it waits for the pass that used the ring before, reads and writes. */
type Issued = Command | { readonly kind: "host"; readonly lane: "host"; readonly after: string | null };
interface Entry {
  readonly command: Issued;
  readonly touched: { name: string; write: boolean }[];
  readonly pass: number;
}

/** Happens-before by vector clocks over the issued list; returns the conflicting pairs that nothing orders. */
function races(list: readonly Entry[]): string[] {
  const clock: Record<string, Record<string, number>> = { upload: {}, compute: {}, offload: {}, host: {} };
  const events = new Map<string, Record<string, number>>();
  const seen = new Map<string, { lane: string; at: number; write: boolean; what: string }[]>();
  const found: string[] = [];
  for (const { command, touched } of list) {
    const own = clock[command.lane];
    if (command.kind === "record") {
      events.set(command.event, { ...own });
      continue;
    }
    if (command.kind === "wait") {
      const then = events.get(command.event);
      if (then === undefined) throw new Error(`${command.event} is waited for and was never recorded`);
      for (const [lane, at] of Object.entries(then)) own[lane] = Math.max(own[lane] ?? 0, at);
      continue;
    }
    if (command.kind === "host" && command.after !== null) {
      for (const [lane, at] of Object.entries(events.get(command.after) ?? {})) own[lane] = Math.max(own[lane] ?? 0, at);
    }
    own[command.lane] = (own[command.lane] ?? 0) + 1;
    // Submitting hands over what the host did and saw.
    if (command.kind === "host") {
      for (const lane of ["upload", "compute", "offload"]) for (const [other, at] of Object.entries(own)) clock[lane][other] = Math.max(clock[lane][other] ?? 0, at);
    }
    for (const { name, write } of touched) {
      const before = seen.get(name) ?? [];
      for (const b of before) {
        if ((b.write || write) && (own[b.lane] ?? 0) < b.at) found.push(`${b.what} / ${command.kind} on ${name}`);
      }
      before.push({ lane: command.lane, at: own[command.lane], write, what: command.kind });
      seen.set(name, before);
    }
  }
  return found;
}

type Options = { tier: "host" | "device"; slots: number; units: number; overlap?: boolean; poison?: boolean; tied?: boolean };

function plan({ tier, slots, units, overlap = true, poison = false, tied = true }: Options): SchedulePlan {
  return { tier, slots, overlap, poison, units: Array.from({ length: units }, (_, u) => ({ gathered: tied && u === 0 })), gatherSources: tied ? [units - 1] : [] };
}

/** train x 4, flush, forward x 2, train x 2, as a run would issue them. */
function run(p: SchedulePlan, microBatches = 2) {
  const kinds: Pass["kind"][] = ["train", "train", "train", "train", "flush", "forward", "forward", "train", "train"];
  let frontier: Frontier = START;
  let pending = false;
  const list: Entry[] = [];
  kinds.forEach((kind, i) => {
    const pass: Pass = { kind, microBatches: kind === "flush" ? 0 : microBatches, update: kind !== "forward" && pending, ring: i % 2, inject: i === 2 };
    const ring = i % 2;
    const { commands, after } = schedulePass(p, pass, hostSaw(frontier, doneEvent(ring)));
    // A flush is awaited before anything else is submitted.
    frontier = kind === "flush" ? hostSaw(after, doneEvent(ring)) : after;
    const byHost = [{ name: `readback ${ring}`, write: false }, ...(kind === "flush" ? [] : [{ name: `staging ${ring}`, write: true }])];
    list.push({ command: { kind: "host", lane: "host", after: i < 2 ? null : `done:${ring}` }, touched: byHost, pass: i });
    list.push(...commands.map((command) => ({ command, touched: touches(p, pass, command), pass: i })));
    if (kind === "flush") {
      // Saving reads the weights at rest as soon as the flush has ended.
      const weights = p.units.map((_, u) => ({ name: p.tier === "host" ? `host ${u}` : `device ${u}`, write: false }));
      list.push({ command: { kind: "host", lane: "host", after: `done:${ring}` }, touched: weights, pass: i });
    }
    pending = kind === "train";
  });
  return list;
}

const plans: Options[] = [
  { tier: "host", slots: 1, units: 4 },
  { tier: "host", slots: 2, units: 5 },
  { tier: "host", slots: 3, units: 5 },
  { tier: "host", slots: 3, units: 3, tied: false },
  { tier: "host", slots: 5, units: 5 },
  { tier: "host", slots: 2, units: 5, poison: true },
  { tier: "device", slots: 0, units: 4 },
  { tier: "device", slots: 0, units: 4, poison: true },
];

describe.each(plans)("the schedule of %o", (options) => {
  it("orders every two commands that touch the same memory", () => {
    expect(races(run(plan(options)))).toEqual([]);
  });

  it("has no wait that could be left out", () => {
    const list = run(plan(options));
    const redundant = list.flatMap((entry, i) => {
      // The test mode's waits for staging matter only where a later pass of the same ring writes it; this list ends.
      if (entry.command.kind !== "wait" || entry.command.event.startsWith("staging")) return [];
      const without = list.filter((_, j) => j !== i);
      return races(without).length === 0 ? [`pass ${entry.pass}: ${entry.command.lane} waits for ${entry.command.event}`] : [];
    });
    expect(redundant).toEqual([]);
  });

  it("needs no event at all when overlap is off", () => {
    const list = run(plan({ ...options, overlap: false }));
    expect(new Set(list.map((e) => e.command.lane))).toEqual(new Set(["host", "compute"]));
    expect(list.filter((e) => e.command.kind === "wait")).toEqual([]);
  });
});

it("lets the upload of the next unit go ahead of the computation of this one", () => {
  const p = plan({ tier: "host", slots: 2, units: 4 });
  const { commands } = schedulePass(p, { kind: "train", microBatches: 1, update: false, ring: 0, inject: false }, START);
  const uploads = commands.filter((c) => c.lane === "upload");
  const second = uploads.findIndex((c) => c.kind === "upload" && c.unit === 1);
  expect(uploads.slice(0, second).filter((c) => c.kind === "wait")).toEqual([]);
});

it("offloads a unit before its forward pass has run", () => {
  const p = plan({ tier: "host", slots: 2, units: 3 });
  const { commands } = schedulePass(p, { kind: "train", microBatches: 1, update: true, ring: 0, inject: false }, START);
  const wait = commands[commands.findIndex((c) => c.kind === "offload" && c.unit === 1) - 1];
  expect(wait).toEqual({ kind: "wait", lane: "offload", event: "prepared:1" });
});

it("neither stores nor offloads weights when nothing is pending", () => {
  const p = plan({ tier: "host", slots: 2, units: 3 });
  const { commands } = schedulePass(p, { kind: "train", microBatches: 1, update: false, ring: 0, inject: false }, START);
  expect(commands.filter((c) => c.kind === "offload")).toEqual([]);
});
