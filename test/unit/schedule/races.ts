import {
  doneEvent,
  hostSaw,
  schedulePass,
  START,
  type Command,
  type Frontier,
  type Pass,
  type SchedulePlan,
} from "../../../src/schedule/pass.js";

interface Touch {
  readonly name: string;
  readonly write: boolean;
}

/**
 * A command, or what JavaScript does before it submits a pass: it waits for the pass that used the ring before, reads
 * and writes.
 */
type Issued = Command | { readonly kind: "host"; readonly lane: "host"; readonly after: string | null };

export interface Entry {
  readonly command: Issued;
  readonly touched: readonly Touch[];
  readonly pass: number;
}

/** What a command touches, said a second time and independently of the schedule: memory by name. */
function touches(plan: SchedulePlan, pass: Pass, command: Command): readonly Touch[] {
  const w = (name: string) => ({ name, write: true });
  const r = (name: string) => ({ name, write: false });
  const rest = (u: number) => (plan.tier === "host" ? `host ${u}` : `device ${u}`);
  const wire = (u: number, slot: number | null) => (slot === null ? `device ${u}` : `slot ${slot}`);
  const pending = pass.update ? [r("pending state"), w("sticky")] : [];
  switch (command.kind) {
    case "inputs":
      return [r(`staging ${command.ring}`), w(`inputs ${command.ring}`)];
    case "gather":
      return [r(`staging ${command.ring}`), ...plan.gatherSources.map((u) => r(rest(u))), w("gathered")];
    case "upload":
      return [r(rest(command.unit)), w(wire(command.unit, command.slot))];
    case "prepare":
      return [
        { name: wire(command.unit, command.slot), write: command.store },
        ...(command.scratch ? [w("scratch")] : []),
        ...pending,
      ];
    case "prepareGathered":
      return [r("gathered"), r(`inputs ${command.ring}`), w("scratch"), ...pending];
    case "run": {
      const weights = command.direct ? wire(command.unit, command.slot) : "scratch";
      const piece = pass.cache?.tier === "device" ? `cache ${command.unit}` : `cache slot ${command.cacheSlot}`;
      const cached = pass.cache !== null && plan.units[command.unit].cached;
      return [r(weights), r(`inputs ${command.ring}`), w("activations"), w("results"), ...(cached ? [w(piece)] : [])];
    }
    case "loss":
      return [r("results"), r(`inputs ${command.ring}`), w("state")];
    case "gradient":
      return [w("state"), w("sticky")];
    case "inject":
      return [r(`inputs ${command.ring}`), w("state")];
    case "offload":
      return [r(wire(command.unit, command.slot)), w(rest(command.unit))];
    case "uploadCache":
      return [r(`cache ${command.unit}`), w(`cache slot ${command.slot}`)];
    case "offloadCache":
      return [r(`cache slot ${command.slot}`), w(`cache ${command.unit}`)];
    case "readback": {
      const results = pass.kind === "forward" || pass.gradient === "caller" ? [r("results")] : [];
      return [r("state"), r("sticky"), ...results, w(`readback ${command.ring}`)];
    }
    case "poison":
      if (command.what === "scratch") return [w("scratch"), w("activations")];
      return [w(`${command.what} ${command.index}`)];
    case "record":
    case "wait":
      return [];
  }
}

/** Happens-before by vector clocks over the issued list; returns the conflicting pairs that nothing orders. */
export function races(list: readonly Entry[]): string[] {
  const clock: Record<string, Record<string, number>> = { upload: {}, compute: {}, offload: {}, host: {} };
  const events = new Map<string, Record<string, number>>();
  const seen = new Map<string, { lane: string; at: number; write: boolean; what: string }[]>();
  const found: string[] = [];
  const learn = (own: Record<string, number>, then: Record<string, number>) => {
    for (const [lane, at] of Object.entries(then)) own[lane] = Math.max(own[lane] ?? 0, at);
  };
  for (const { command, touched } of list) {
    const own = clock[command.lane];
    if (command.kind === "record") {
      events.set(command.event, { ...own });
      continue;
    }
    if (command.kind === "wait") {
      const then = events.get(command.event);
      if (then === undefined) throw new Error(`${command.event} is waited for and was never recorded`);
      learn(own, then);
      continue;
    }
    if (command.kind === "host" && command.after !== null) learn(own, events.get(command.after) ?? {});
    own[command.lane] = (own[command.lane] ?? 0) + 1;
    // Submitting hands over what the host did and saw.
    if (command.kind === "host") for (const lane of ["upload", "compute", "offload"]) learn(clock[lane], own);
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

export interface PlanShape {
  readonly tier: "host" | "device";
  readonly slots: number;
  readonly units: number;
  readonly overlap?: boolean;
  readonly poison?: boolean;
  readonly tied?: boolean;
  /** Whether wire bytes are what programs read; `mixed`: in every other unit. */
  readonly direct?: boolean | "mixed";
  readonly cacheSlots?: number;
}

/** The first unit gathers where the embedding is tied; all but the first and the last have a piece of the cache. */
export function planOf({
  tier,
  slots,
  units,
  overlap = true,
  poison = false,
  tied = true,
  direct = true,
  cacheSlots = 3,
}: PlanShape): SchedulePlan {
  return {
    tier,
    slots,
    overlap,
    poison,
    cacheSlots,
    gatherSources: tied ? [units - 1] : [],
    units: Array.from({ length: units }, (_, u) => {
      const gathered = tied && u === 0;
      return {
        gathered,
        direct: !gathered && (direct === "mixed" ? u % 2 === 0 : direct),
        cached: u > 0 && u < units - 1,
      };
    }),
  };
}

export function passOf(kind: Pass["kind"], o: Partial<Pass> = {}): Pass {
  return {
    kind,
    microBatches: kind === "flush" ? 0 : 2,
    update: kind === "flush",
    ring: 0,
    gradient: "losses",
    perturbed: false,
    cache: null,
    ...o,
  };
}

/** The passes one after another, ring by ring, with what the host does between them, as an engine would issue them. */
export function issue(plan: SchedulePlan, passes: readonly Pass[]): Entry[] {
  let frontier: Frontier = START;
  const list: Entry[] = [];
  passes.forEach((given, i) => {
    const ring = i % 2;
    const pass = { ...given, ring };
    const { commands, after } = schedulePass(plan, pass, hostSaw(frontier, doneEvent(ring)));
    // A flush is awaited before anything else is submitted.
    const awaited = pass.kind === "flush";
    frontier = awaited ? hostSaw(after, doneEvent(ring)) : after;
    const byHost = [
      { name: `readback ${ring}`, write: false },
      ...(awaited ? [] : [{ name: `staging ${ring}`, write: true }]),
    ];
    list.push({
      command: { kind: "host", lane: "host", after: i < 2 ? null : doneEvent(ring) },
      touched: byHost,
      pass: i,
    });
    list.push(...commands.map((command) => ({ command, touched: touches(plan, pass, command), pass: i })));
    if (awaited) {
      // Saving reads the weights at rest as soon as the flush has ended.
      const weights = plan.units.map((_, u) => ({
        name: plan.tier === "host" ? `host ${u}` : `device ${u}`,
        write: false,
      }));
      list.push({ command: { kind: "host", lane: "host", after: doneEvent(ring) }, touched: weights, pass: i });
    }
  });
  return list;
}
