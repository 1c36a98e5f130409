import { NOTES } from "../../../src/memory/control.js";
import { passCommands } from "../../../src/schedule/pass.js";
import type { Command, Declared, Work } from "../../../src/schedule/command.js";
import type { Pass, SchedulePlan } from "../../../src/schedule/facts.js";
import { nameOf } from "../../../src/schedule/resource.js";
import { Timeline } from "../../../src/schedule/timeline.js";

interface Touch {
  readonly name: string;
  readonly write: boolean;
}

/**
 * A command, or what JavaScript does before it submits a pass: it has seen the end of the pass that used the ring
 * before (by its number in the list), reads and writes.
 */
type Issued = Command | { readonly kind: "host"; readonly lane: "host"; readonly after: number | null };

export interface Entry {
  readonly command: Issued;
  readonly touched: readonly Touch[];
  readonly pass: number;
}

/** A plan, and whether lanes overlap. */
export interface Planned {
  readonly plan: SchedulePlan;
  readonly overlap: boolean;
}

/** What a command touches, said a second time and independently of the schedule: memory by name. */
function touches(plan: SchedulePlan, pass: Pass, work: Work): readonly Touch[] {
  const w = (name: string) => ({ name, write: true });
  const r = (name: string) => ({ name, write: false });
  const rest = (u: number) => `rest ${u}`;
  // Where a unit's bytes are in host memory, on their way to the device and back.
  const host = (u: number, way: "read" | "write") => {
    const { staging } = plan.units[u];
    return staging === null ? rest(u) : `hostSlot ${staging[way]}`;
  };
  const wire = (u: number) => (plan.units[u].slot === null ? rest(u) : `slot ${plan.units[u].slot}`);
  const updating = (update: boolean) => (update ? [...pass.pending.map((s) => r(`state ${s}`)), w("sticky 0")] : []);
  const scratch = (set: number, side: number) => `scratch ${set * plan.sides + side}`;
  const sides = (signs: readonly unknown[], set: number) => signs.map((_, side) => w(scratch(set, side)));
  const area = (probe: number, microBatch: number) => probe * pass.microBatches + microBatch;
  switch (work.kind) {
    case "inputs":
      return [r(`staging ${work.ring}`), w(`inputs ${work.ring}`)];
    case "gather": {
      const sources = plan.gatherSources.map((u) => (plan.units[u].staging === null ? rest(u) : "hostGathered 0"));
      return [r(`staging ${work.ring}`), ...sources.map(r), w("gathered 0")];
    }
    case "readGathered": {
      const sources = plan.gatherSources.filter((u) => plan.units[u].staging !== null);
      return [r(`staging ${work.ring}`), ...sources.map((u) => r(rest(u))), w("hostGathered 0")];
    }
    case "read":
      return [r(rest(work.unit)), w(`hostSlot ${work.hostSlot}`)];
    case "write":
      return [r(`hostSlot ${work.hostSlot}`), w(rest(work.unit))];
    case "upload":
      if (work.what === "carried")
        return [r(`carriedRest ${area(work.probe, work.microBatch)}`), w(`carriedSlot ${work.slot}`)];
      return work.what === "weights"
        ? [r(host(work.unit, "read")), w(`slot ${work.slot}`)]
        : [r(`cacheRest ${work.unit}`), w(`cacheSlot ${work.slot}`)];
    case "offload":
      if (work.what === "carried")
        return [r(`carriedSlot ${work.slot}`), w(`carriedRest ${area(work.probe, work.microBatch)}`)];
      return work.what === "weights"
        ? [r(`slot ${work.slot}`), w(host(work.unit, "write"))]
        : [r(`cacheSlot ${work.slot}`), w(`cacheRest ${work.unit}`)];
    case "prepare":
      return [{ name: wire(work.unit), write: work.store }, ...sides(work.signs, work.set), ...updating(work.update)];
    case "prepareGathered":
      return [r("gathered 0"), r(`inputs ${work.ring}`), ...sides(work.signs, work.set), ...updating(work.update)];
    case "run": {
      const weights = work.scratch === null ? wire(work.unit) : `scratch ${work.scratch}`;
      const piece = pass.cache?.moves === false ? `deviceCache ${work.unit}` : `cacheSlot ${work.cacheSlot}`;
      const cached = pass.cache !== null && plan.units[work.unit].cacheSlot !== null;
      const own = area(work.probe, work.microBatch);
      const carried = plan.carriedSlots === 0 ? `carried ${own}` : `carriedSlot ${work.carriedSlot}`;
      return [
        ...[r(weights), r(`inputs ${work.ring}`), w(carried), w("workspace 0"), w(`results ${own}`)],
        ...(cached ? [w(piece)] : []),
      ];
    }
    case "loss":
      return [r(`results ${area(work.probe, work.microBatch)}`), r(`inputs ${work.ring}`), w(`state ${pass.state}`)];
    case "coefficients":
      return [w(`state ${pass.state}`), w("sticky 0")];
    case "inject":
      return [r(`inputs ${work.ring}`), w(`state ${pass.state}`)];
    case "readback": {
      const areas = work.results ? pass.probes.length * pass.microBatches : 0;
      const results = Array.from({ length: areas }, (_, a) => r(`results ${a}`));
      const step = pass.state === null ? [] : [r(`state ${pass.state}`)];
      return [...step, r("sticky 0"), ...results, w(`readback ${work.ring}`)];
    }
    case "poison":
      if (work.what === "hostGathered") return [w("hostGathered 0")];
      if (work.what !== "scratch") return [w(`${work.what} ${work.index}`)];
      return [w("workspace 0"), ...work.sets.flatMap((set) => sides(Array.from({ length: plan.sides }), set))];
    default:
      throw new Error(`${work.kind} is no part of a pass`);
  }
}

/** "write slot 2", "read inputs 0", each once: what is read and written is written. */
function textsOf(touched: readonly Touch[]): string[] {
  const written = new Set(touched.flatMap(({ name, write }) => (write ? [name] : [])));
  return [...new Set(touched.map(({ name }) => `${written.has(name) ? "write" : "read"} ${name}`))].sort();
}

/** Commands that do not declare what they touch, with both. */
export function misdeclared(plan: SchedulePlan, pass: Pass, list: readonly Declared[]): string[] {
  return list.flatMap(({ work, reads, writes }) => {
    const declared = textsOf([
      ...reads.map((resource) => ({ name: nameOf(resource), write: false })),
      ...writes.map((resource) => ({ name: nameOf(resource), write: true })),
    ]);
    const after = work.kind === "readback" ? touchedByHost(plan, pass) : [];
    const touched = textsOf([...touches(plan, pass, work), ...after]);
    return declared.join() === touched.join() ? [] : [`${textOf(work)} touches ${touched}, and declares ${declared}`];
  });
}

/** What the host may do once it has seen the end of a pass. */
function touchedByHost({ units }: SchedulePlan, { probes, ring }: Pass): readonly Touch[] {
  if (probes.length > 0) return [{ name: `staging ${ring}`, write: true }];
  return units.flatMap(({ changes }, u) => (changes ? [{ name: `rest ${u}`, write: false }] : []));
}

/** Commands that read what was poisoned and not written since, in the order in which they are issued. */
export function readsOfPoison(plan: SchedulePlan, passes: readonly Pass[]): string[] {
  const poisoned = new Set<string>();
  return passes.flatMap((given, i) => {
    const pass = { ...given, ring: i % 2 };
    poisoned.delete(`staging ${pass.ring}`);
    return passCommands(plan, pass).flatMap(({ work, reads, writes }) => {
      const bad = reads.map(nameOf).filter((name) => poisoned.has(name));
      for (const name of writes.map(nameOf)) {
        if (work.kind === "poison") poisoned.add(name);
        else poisoned.delete(name);
      }
      return bad.map((name) => `pass ${i}: ${textOf(work)} reads ${name}`);
    });
  });
}

/**
 * Happens-before by vector clocks over the issued list; returns the conflicting pairs that nothing orders: all, or
 * those of the first command that has one.
 */
export function races(list: Iterable<Entry>, which: "all" | "first" = "all"): string[] {
  const lanes = ["read", "upload", "prepare", "compute", "offload", "write"];
  const clock: Record<string, Record<string, number>> = Object.fromEntries([...lanes, "host"].map((l) => [l, {}]));
  const events = new Map<number, Record<string, number>>();
  /** By pass, what its last record knew: the one that the host waits for. */
  const ends = new Map<number, Record<string, number>>();
  const seen = new Map<string, { lane: string; at: number; write: boolean; what: string }[]>();
  const found: string[] = [];
  const learn = (own: Record<string, number>, then: Record<string, number>) => {
    for (const [lane, at] of Object.entries(then)) own[lane] = Math.max(own[lane] ?? 0, at);
  };
  for (const { command, touched, pass } of list) {
    const own = clock[command.lane];
    if (command.kind === "record") {
      events.set(command.event, { ...own });
      if (command.lane === "compute") ends.set(pass, { ...own });
      continue;
    }
    if (command.kind === "wait") {
      const then = events.get(command.event);
      if (then === undefined) throw new Error(`event ${command.event} is waited for and was never recorded`);
      learn(own, then);
      continue;
    }
    if (command.kind === "host" && command.after !== null) learn(own, ends.get(command.after) ?? {});
    own[command.lane] = (own[command.lane] ?? 0) + 1;
    // Submitting hands over what the host did and saw.
    if (command.kind === "host") for (const lane of lanes) learn(clock[lane], own);
    const what = command.kind === "host" ? "host" : command.work.kind;
    for (const { name, write } of touched) {
      const before = seen.get(name) ?? [];
      for (const b of before) {
        if ((b.write || write) && (own[b.lane] ?? 0) < b.at) found.push(`${b.what} / ${what} on ${name}`);
      }
      before.push({ lane: command.lane, at: own[command.lane], write, what });
      seen.set(name, before);
    }
    if (which === "first" && found.length > 0) break;
  }
  return found;
}

export interface PlanShape {
  /** `mixed`: every third unit rests on the device. `blend`: and of the others every second passes a host slot. */
  readonly tier: "host" | "device" | "mixed" | "disk" | "blend";
  /** Host slots each way. */
  readonly hostSlots?: number;
  readonly slots: number;
  readonly units: number;
  readonly overlap?: boolean;
  readonly poison?: boolean;
  readonly tied?: boolean;
  /** Whether wire bytes are what programs read; `mixed`: in every other unit. */
  readonly direct?: boolean | "mixed";
  readonly cacheSlots?: number;
  /** Of activations that rest elsewhere; 0: they are used where they rest. */
  readonly carriedSlots?: number;
  /** Whether units are prepared on a lane of their own. */
  readonly prepareAhead?: boolean;
  /** Units in which nothing is trained. */
  readonly frozen?: readonly number[];
}

/**
 * The first unit gathers where the embedding is tied; all but the first and the last have a piece of the cache.
 */
export function planOf(shape: PlanShape): Planned {
  const { tier, slots, units, overlap = true, poison = false, tied = true, direct = true, cacheSlots = 3 } = shape;
  const { frozen = [], prepareAhead = false, hostSlots = 2, carriedSlots = 0 } = shape;
  let moving = 0;
  let pieces = 0;
  const staged = { read: 0, write: 0 };
  const plan: SchedulePlan = {
    ...{ poison, sides: 2, sets: prepareAhead ? 2 : 1, gatherSources: tied ? [units - 1] : [] },
    units: Array.from({ length: units }, (_, u) => {
      const gathers = tied && u === 0;
      const moves = tier !== "device" && (tier === "host" || tier === "disk" || u % 3 !== 1);
      const changes = !frozen.includes(u);
      const isStaged = tier === "disk" || (tier === "blend" && moves && Math.floor(u / 3) % 2 === 0);
      return {
        staging: isStaged
          ? {
              read: staged.read++ % hostSlots,
              write: changes ? hostSlots + (staged.write++ % hostSlots) : null,
            }
          : null,
        slot: moves ? moving++ % slots : null,
        changes,
        gathered: gathers ? { changes: !frozen.includes(units - 1) } : null,
        direct: !gathers && (direct === "mixed" ? u % 2 === 0 : direct),
        cacheSlot: u > 0 && u < units - 1 ? pieces++ % cacheSlots : null,
        brings: u > 0,
        takes: u < units - 1,
      };
    }),
    carriedSlots,
  };
  return { plan, overlap };
}

/** What a pass is for, in few words. */
export interface PassShape {
  /** Whether the update of an earlier step is pending, or of how many. */
  readonly update?: boolean | number;
  /** `train`: whether what is pending is stored. */
  readonly stores?: boolean;
  readonly microBatches?: number;
  /** `train`: along how many directions, to both sides of each. */
  readonly directions?: number;
  /** `train`: where the coefficients come from. */
  readonly gradient?: "losses" | "batch" | "caller";
  /** `forward`: whether the weights stand to one side of their place. */
  readonly perturbed?: boolean;
  readonly cache?: { readonly tier: "host" | "device"; readonly upload: boolean } | undefined;
}

export function passOf(kind: "train" | "forward" | "flush", o: PassShape = {}): Pass {
  const {
    update = kind === "flush",
    stores = true,
    microBatches = 2,
    directions = 1,
    gradient = "losses",
    perturbed = false,
    cache,
  } = o;
  const side = (sign: 1 | -1, direction = 0) => ({ direction, sign });
  const pending = Array.from({ length: Number(update) }, (_, state) => (state === 0 ? 0 : state + 1));
  const common = { ring: 0, pending, injects: false };
  if (kind === "flush")
    return { ...common, microBatches: 0, probes: [], stores: true, yields: null, state: null, cache: null };
  if (kind === "forward") {
    return {
      ...{ ...common, microBatches, stores: false, yields: "results", state: null },
      probes: [perturbed ? side(1) : { direction: null, sign: 0 }],
      cache: cache === undefined ? null : { moves: cache.tier === "host", upload: cache.upload },
    };
  }
  return {
    ...{ ...common, microBatches, stores, state: 1, cache: null },
    probes: Array.from({ length: directions }, (_, d) => [side(1, d), side(-1, d)]).flat(),
    yields: gradient === "caller" ? "results" : "coefficients",
    injects: gradient === "batch",
  };
}

/** The passes one after another, ring by ring, with what the host does between them, as a session would issue them. */
export function issue({ plan, overlap }: Planned, passes: readonly Pass[]): Entry[] {
  const timeline = new Timeline(overlap);
  const list: Entry[] = [];
  const ends: ReturnType<Timeline["order"]>["end"][] = [];
  const host = (pass: number, after: number | null, touched: readonly Touch[]) =>
    list.push({ command: { kind: "host", lane: "host", after }, touched, pass });
  passes.forEach((given, i) => {
    const ring = i % 2;
    const pass = { ...given, ring };
    // A flush is awaited before anything else is submitted.
    const awaited = pass.probes.length === 0;
    if (i >= 2) timeline.hostSaw(ends[i - 2]);
    // What the seals of units say that this pass writes, as far as the host knows the notes to be read that were there.
    const note = `note ${i % NOTES}`;
    const byHost = [
      { name: note, write: true },
      { name: `readback ${ring}`, write: false },
      ...(awaited ? [] : [{ name: `staging ${ring}`, write: true }]),
    ];
    host(i, i < 2 ? null : i - 2, byHost);
    const { commands, end } = timeline.order(passCommands(plan, pass));
    for (const command of commands) {
      const touched = command.kind === "work" ? [...touches(plan, pass, command.work)] : [];
      if (command.kind === "work" && command.work.kind === "write") touched.push({ name: note, write: false });
      list.push({ command, touched, pass: i });
    }
    ends.push(end);
    if (!awaited) return;
    timeline.hostSaw(end);
    // Saving reads the weights at rest as soon as the flush has ended.
    host(
      i,
      i,
      plan.units.map((_, u) => ({ name: `rest ${u}`, write: false })),
    );
  });
  // The pass behind the last two would find their rings free.
  for (const i of [passes.length - 2, passes.length - 1]) {
    if (i >= 0)
      host(passes.length, i, [
        { name: `staging ${i % 2}`, write: true },
        { name: `readback ${i % 2}`, write: false },
      ]);
  }
  return list;
}

/** What each event of a list was recorded behind, in order: for messages. */
export function waitsOf(list: readonly Entry[]): Map<Entry, string> {
  const named = new Map<number, string>();
  const waits = new Map<Entry, string>();
  let last = "";
  for (const entry of list) {
    const { command } = entry;
    if (command.kind === "work") last = textOf(command.work);
    if (command.kind === "record") named.set(command.event, `${command.lane}'s ${last}`);
    if (command.kind === "wait") waits.set(entry, `${command.lane} waits for ${named.get(command.event)}`);
  }
  return waits;
}

function textOf(work: Work): string {
  const unit = "unit" in work ? ` ${work.unit}` : "";
  return `${work.kind}${"what" in work ? ` ${work.what}` : ""}${unit}`;
}
