import type { Tier } from "../memory/plan.js";

/** Three lanes, each in order; `compute` alone when overlap is off. */
export type Lane = "upload" | "compute" | "offload";
export const LANES: readonly Lane[] = ["upload", "compute", "offload"];

/** What one command does; `lane` says where. Numbers are indices: of units, slots, micro-batches, branches, rings. */
export type Command =
  | { readonly kind: "inputs"; readonly lane: Lane; readonly ring: number }
  | { readonly kind: "gather"; readonly lane: Lane; readonly ring: number }
  | { readonly kind: "upload"; readonly lane: Lane; readonly unit: number; readonly slot: number }
  | {
      readonly kind: "prepare";
      readonly lane: Lane;
      readonly unit: number;
      readonly slot: number | null;
      readonly update: boolean;
      readonly store: boolean;
      readonly scratch: boolean;
    }
  /** The tied embedding's gathered rows: pending update in, W+ and W- out, nothing stored. */
  | {
      readonly kind: "prepareGathered";
      readonly lane: Lane;
      readonly unit: number;
      readonly ring: number;
      readonly update: boolean;
    }
  /** `direct`: with the wire bytes as they are, in their slot or where they rest. */
  | {
      readonly kind: "run";
      readonly lane: Lane;
      readonly unit: number;
      readonly branch: 0 | 1;
      readonly microBatch: number;
      readonly ring: number;
      readonly direct: boolean;
      readonly slot: number | null;
      readonly cacheSlot: number | null;
    }
  | {
      readonly kind: "loss";
      readonly lane: Lane;
      readonly branch: 0 | 1;
      readonly microBatch: number;
      readonly ring: number;
    }
  | { readonly kind: "gradient"; readonly lane: Lane }
  /** Replaces the step's g by the one that came with the batch: a projected gradient from outside. */
  | { readonly kind: "inject"; readonly lane: Lane; readonly ring: number }
  | { readonly kind: "offload"; readonly lane: Lane; readonly unit: number; readonly slot: number }
  /**
   * A unit's piece of a key/value cache in host memory: what earlier passes have left there comes, what this one adds
   * goes.
   */
  | { readonly kind: "uploadCache"; readonly lane: Lane; readonly unit: number; readonly slot: number }
  | { readonly kind: "offloadCache"; readonly lane: Lane; readonly unit: number; readonly slot: number }
  | { readonly kind: "readback"; readonly lane: Lane; readonly ring: number }
  /** Test mode: fills with NaN what nothing may read any more. */
  | {
      readonly kind: "poison";
      readonly lane: Lane;
      readonly what: "slot" | "scratch" | "staging";
      readonly index: number;
    }
  | { readonly kind: "record"; readonly lane: Lane; readonly event: string }
  | { readonly kind: "wait"; readonly lane: Lane; readonly event: string };

/** The part of a plan that a schedule depends on. */
export interface SchedulePlan {
  readonly tier: Tier;
  readonly units: readonly {
    readonly gathered: boolean;
    /**
     * Whether its wire bytes are what its program reads, so that nothing has to be prepared where nothing changes them.
     */
    readonly direct: boolean;
    readonly cached: boolean;
  }[];
  /** Units whose wire bytes hold the rows that are gathered. */
  readonly gatherSources: readonly number[];
  readonly slots: number;
  /** Pieces of a cache in host memory that fit on the device at once. */
  readonly cacheSlots: number;
  readonly overlap: boolean;
  readonly poison: boolean;
}

/** One pass over the model. */
export interface Pass {
  /**
   * `train`: W+ and W-, losses and g; what is pending is stored. `forward`: one set of weights, results back, and
   * nothing is stored. `flush`: what is pending is stored, nothing runs.
   */
  readonly kind: "train" | "forward" | "flush";
  readonly microBatches: number;
  /** Whether an update is pending for the units. */
  readonly update: boolean;
  /** Which of the two sets of batch tables and readback memory this pass uses. */
  readonly ring: number;
  /**
   * `train`: g comes from the losses, with the batch, or from the caller, who gets the results of both branches
   * instead.
   */
  readonly gradient: "losses" | "batch" | "caller";
  /** `forward`: whether the weights stand to one side of their place. */
  readonly perturbed: boolean;
  /** The key/value cache that attention works with; `upload`: whether earlier passes have left something there. */
  readonly cache: { readonly tier: Tier; readonly upload: boolean } | null;
}

/** Where a command stands: the `index`-th of its lane since the device was opened. */
interface Position {
  readonly lane: Lane;
  readonly index: number;
  readonly event: string;
}

interface Access {
  readonly write: Position | null;
  readonly reads: readonly Position[];
}

/**
 * What later commands have to respect: per lane how many commands it has had, how far it knows the others to have come,
 * and who touched each resource last. Immutable; a pass turns one into the next.
 */
export interface Frontier {
  readonly counts: Readonly<Record<Lane, number>>;
  readonly known: Readonly<Record<Lane, Readonly<Record<Lane, number>>>>;
  /** What a lane knew when it recorded an event. */
  readonly recorded: ReadonlyMap<string, Readonly<Record<Lane, number>>>;
  readonly resources: ReadonlyMap<string, Access>;
}

const zeroes = (): Record<Lane, number> => ({ upload: 0, compute: 0, offload: 0 });

export const START: Frontier = {
  counts: zeroes(),
  known: { upload: zeroes(), compute: zeroes(), offload: zeroes() },
  recorded: new Map(),
  resources: new Map(),
};

/**
 * The commands of one pass, in the order in which they are issued, and the frontier after it. Pure.
 *
 * Each command declares what it reads and writes. A wait is emitted exactly where a command depends on one of another
 * lane that its own lane does not yet know to be done; so there is no wait that another one implies, and leaving any
 * out is a race.
 */
export function schedulePass(
  plan: SchedulePlan,
  pass: Pass,
  before: Frontier,
): { readonly commands: readonly Command[]; readonly after: Frontier } {
  const lanes = new Lanes(plan.overlap, before);
  const computing = pass.kind !== "flush";
  const stores = pass.update && pass.kind !== "forward";
  const branches: readonly (0 | 1)[] = pass.kind === "train" ? [0, 1] : [0];
  const { ring } = pass;
  const inputs = `inputs:${ring}`;
  const atRest = (unit: number) => (plan.tier === "host" ? `host:${unit}` : `resident:${unit}`);
  const onDevice = (unit: number) => (plan.tier === "host" ? `slot:${unit % plan.slots}` : `resident:${unit}`);

  if (computing) {
    lanes.issue("upload", { kind: "inputs", ring }, { writes: [inputs], event: inputs });
    if (plan.gatherSources.length > 0) {
      lanes.issue(
        "upload",
        { kind: "gather", ring },
        { reads: plan.gatherSources.map(atRest), writes: ["gathered"], event: "gathered" },
      );
    }
    if (plan.poison)
      lanes.issue(
        "upload",
        { kind: "poison", what: "staging", index: ring },
        { writes: [`staging:${ring}`], event: `staging:${ring}` },
      );
  }

  let cachePieces = 0;
  plan.units.forEach((unit, u) => {
    const slot = plan.tier === "host" ? u % plan.slots : null;
    if (slot !== null) {
      lanes.issue(
        "upload",
        { kind: "upload", unit: u, slot },
        { reads: [atRest(u)], writes: [onDevice(u)], event: `uploaded:${u}` },
      );
    }
    const direct = pass.kind === "forward" && !pass.update && !pass.perturbed && unit.direct;
    if (!direct) {
      lanes.issue(
        "compute",
        { kind: "prepare", unit: u, slot, update: pass.update, store: stores, scratch: computing },
        {
          ...(stores ? { writes: [onDevice(u)] } : { reads: [onDevice(u)] }),
          event: `prepared:${u}`,
        },
      );
    }
    if (slot !== null && stores) {
      lanes.issue(
        "offload",
        { kind: "offload", unit: u, slot },
        { reads: [onDevice(u)], writes: [atRest(u)], event: `offloaded:${u}` },
      );
    }
    const release = () => {
      if (!plan.poison || slot === null) return;
      lanes.issue(
        stores ? "offload" : "compute",
        { kind: "poison", what: "slot", index: slot },
        { writes: [onDevice(u)], event: `released:${u}` },
      );
    };
    if (!direct) release();
    if (!computing) return;
    if (unit.gathered) {
      lanes.issue(
        "compute",
        { kind: "prepareGathered", unit: u, ring, update: pass.update },
        { reads: ["gathered", inputs], event: "preparedGathered" },
      );
    }
    const streamsCache = pass.cache?.tier === "host" && unit.cached;
    const cacheSlot = streamsCache ? cachePieces++ % plan.cacheSlots : null;
    const inCacheSlot = cacheSlot === null ? [] : [`cacheSlot:${cacheSlot}`];
    if (cacheSlot !== null && pass.cache?.upload === true) {
      lanes.issue(
        "upload",
        { kind: "uploadCache", unit: u, slot: cacheSlot },
        { reads: [`cache:${u}`], writes: inCacheSlot, event: `cacheUploaded:${u}` },
      );
    }
    for (let microBatch = 0; microBatch < pass.microBatches; microBatch++) {
      for (const branch of branches) {
        const reads = direct ? [inputs, onDevice(u)] : [inputs];
        lanes.issue(
          "compute",
          { kind: "run", unit: u, branch, microBatch, ring, direct, slot, cacheSlot },
          { reads, writes: inCacheSlot, event: `ran:${u}` },
        );
        if (pass.kind === "train" && pass.gradient !== "caller" && u === plan.units.length - 1) {
          lanes.issue("compute", { kind: "loss", branch, microBatch, ring }, { reads: [inputs], event: "loss" });
        }
      }
    }
    if (cacheSlot !== null) {
      lanes.issue(
        "offload",
        { kind: "offloadCache", unit: u, slot: cacheSlot },
        { reads: inCacheSlot, writes: [`cache:${u}`], event: `cacheOffloaded:${u}` },
      );
    }
    if (direct) release();
    if (plan.poison) lanes.issue("compute", { kind: "poison", what: "scratch", index: 0 }, {});
  });

  if (pass.kind === "train" && pass.gradient !== "caller") lanes.issue("compute", { kind: "gradient" }, {});
  if (pass.kind === "train" && pass.gradient === "batch")
    lanes.issue("compute", { kind: "inject", ring }, { reads: [inputs], event: "injected" });
  // On the compute lane: what it reads (states, flags, results) is written there and nowhere else. A flush ends when
  // the weights rest.
  const rest = pass.kind === "flush" ? plan.units.map((_, u) => atRest(u)) : [];
  // The end of a pass lets JavaScript write the staging memory again.
  lanes.issue("compute", { kind: "readback", ring }, { reads: [...rest, `staging:${ring}`], event: doneEvent(ring) });
  return { commands: lanes.finish(), after: lanes.frontier() };
}

/**
 * The frontier once the host has seen `event` fire: whatever is submitted from now on comes after all that the
 * recording lane knew.
 */
export function hostSaw(before: Frontier, event: string): Frontier {
  const then = before.recorded.get(event) ?? zeroes();
  const joined = (lane: Lane) =>
    Object.fromEntries(LANES.map((other) => [other, Math.max(before.known[lane][other], then[other])])) as Record<
      Lane,
      number
    >;
  return { ...before, known: { upload: joined("upload"), compute: joined("compute"), offload: joined("offload") } };
}

/** The event that fires when the pass that used this ring has ended. */
export function doneEvent(ring: number): string {
  return `done:${ring}`;
}

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

/** Issues commands on lanes and finds the waits they need, with one vector clock per lane. */
class Lanes {
  private readonly issued: { command: Command; event: string | null }[] = [];
  private readonly counts: Record<Lane, number>;
  private readonly known: Record<Lane, Record<Lane, number>>;
  private readonly recorded: Map<string, Readonly<Record<Lane, number>>>;
  private readonly resources: Map<string, Access>;

  constructor(
    private readonly overlap: boolean,
    before: Frontier,
  ) {
    this.counts = { ...before.counts };
    this.known = {
      upload: { ...before.known.upload },
      compute: { ...before.known.compute },
      offload: { ...before.known.offload },
    };
    this.recorded = new Map(before.recorded);
    this.resources = new Map(before.resources);
  }

  issue(
    wanted: Lane,
    command: DistributiveOmit<Command, "lane">,
    use: { readonly reads?: readonly string[]; readonly writes?: readonly string[]; readonly event?: string },
  ): void {
    const lane = this.overlap ? wanted : "compute";
    const reads = use.reads ?? [];
    const writes = use.writes ?? [];
    const touched = [...reads, ...writes].map((name) => this.resources.get(name)?.write ?? null);
    const readers = writes.flatMap((name) => this.resources.get(name)?.reads ?? []);
    this.waitFor(
      lane,
      [...touched, ...readers].filter((p) => p !== null),
    );
    const event = use.event ?? null;
    const index = ++this.counts[lane];
    this.known[lane][lane] = index;
    this.issued.push({ command: { ...command, lane } as Command, event });
    if (event === null) return;
    this.recorded.set(event, { ...this.known[lane] });
    const position: Position = { lane, index, event };
    for (const name of writes) this.resources.set(name, { write: position, reads: [] });
    for (const name of reads) {
      const access = this.resources.get(name);
      // One read per lane is enough: a later one of the same lane implies the earlier.
      const others = (access?.reads ?? []).filter((r) => r.lane !== lane);
      this.resources.set(name, { write: access?.write ?? null, reads: [...others, position] });
    }
  }

  private waitFor(lane: Lane, positions: readonly Position[]): void {
    const needed = [...new Set(positions)].filter((p) => this.known[lane][p.lane] < p.index);
    // A wait implies all that the recording lane knew; what another needed wait implies needs no wait of its own.
    const implied = (p: Position, by: Position) => p !== by && (this.recorded.get(by.event)?.[p.lane] ?? 0) >= p.index;
    for (const position of needed) {
      if (
        this.known[lane][position.lane] >= position.index ||
        needed.some((by) => implied(position, by) && !implied(by, position))
      )
        continue;
      this.issued.push({ command: { kind: "wait", lane, event: position.event }, event: null });
      const then = this.recorded.get(position.event) ?? zeroes();
      for (const other of LANES) this.known[lane][other] = Math.max(this.known[lane][other], then[other]);
    }
  }

  finish(): Command[] {
    return this.issued.flatMap(({ command, event }): Command[] =>
      event === null ? [command] : [command, { kind: "record", lane: command.lane, event }],
    );
  }

  frontier(): Frontier {
    return { counts: this.counts, known: this.known, recorded: this.recorded, resources: this.resources };
  }
}
