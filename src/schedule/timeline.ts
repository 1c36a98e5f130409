import { at } from "../base/at.js";
import { type Command, type Declared, LANE_NUMBER, LANES } from "./command.js";
import { isShared, nameOf, type Resource } from "./resource.js";

const COUNT = LANES.length;

/** By lane, how far a lane knows it to have come: past its `index`-th command since the device was opened. */
type Clock = readonly number[];

/** Where a command stands: it is the `index`-th of its lane, which knew `clock` of the others. */
export interface Position {
  readonly lane: number;
  readonly index: number;
  /** Its number among the commands of all lanes. */
  readonly order: number;
  /** Of the other lanes: shared by all commands between two waits. */
  readonly clock: Clock;
  /** The event that is recorded right behind the command; null where nothing needs one. */
  event: number | null;
}

/** Commands, and behind each piece of work its position. */
type Issued = Command | Position;

interface Access {
  write: Position | null;
  /** By lane, the last read since that write: a later one of a lane implies the earlier. */
  readonly reads: (Position | null)[];
  /** The list of commands that touched it last. */
  list: number;
}

/** The commands to submit, and where the last of them on the compute lane stands, which has an event. */
export interface Ordered {
  readonly commands: readonly Command[];
  readonly end: Position & { readonly event: number };
}

/**
 * What later commands have to respect: how far each lane is, how far it knows the others to have come, and who touched
 * each resource last. Knows lanes and resources only.
 *
 * A wait is put exactly where a command depends on one of another lane that its own lane does not yet know to be done;
 * so there is no wait that another one implies, and leaving any out is a race. A record is put where another lane waits
 * for it, and behind what a later list may have to wait for.
 */
export class Timeline {
  private readonly counts: number[] = new Array<number>(COUNT).fill(0);
  private readonly clocks: Clock[] = LANES.map(() => new Array<number>(COUNT).fill(0));
  /** By resource. */
  private readonly accesses: (Access | undefined)[] = [];
  /** By lane, the positions with an event that some lane may still have to wait for, in order. */
  private readonly recorded: Position[][] = LANES.map(() => []);
  /** Events that no lane will wait for again, each with the first command that it may be recorded behind. */
  private readonly free: { readonly event: number; readonly from: number }[] = [];
  private events = 0;
  private commands = 0;
  private lists = 0;
  /** How far each lane had come when the last list was handed out. */
  private submitted: Clock = new Array<number>(COUNT).fill(0);
  /** By lane, what the command at hand has to wait for. Empty between commands. */
  private readonly needed: (Position | null)[] = LANES.map(() => null);

  constructor(private readonly overlap: boolean) {}

  /** Puts a list of declared commands into the order in which they are issued, with the records and waits they need. */
  order(list: readonly Declared[]): Ordered {
    this.lists++;
    const issued: Issued[] = [];
    const touched: Access[] = [];
    const last: (Position | null)[] = LANES.map(() => null);
    for (const declared of list) {
      const command =
        this.overlap || declared.lane === "compute" ? declared : { ...declared, lane: "compute" as const };
      const lane = LANE_NUMBER[command.lane];
      this.waitFor(lane, command, issued);
      const position = this.advance(lane);
      last[lane] = position;
      issued.push(command, position);
      this.note(position, command, touched);
    }
    if (this.overlap) this.keep(touched, last);
    const end = last[LANE_NUMBER.compute] ?? null;
    if (end === null) throw new Error("a list of commands ends on the compute lane");
    this.recordAt(end);
    this.submitted = [...this.counts];
    return { commands: commandsOf(issued), end: end as Ordered["end"] };
  }

  /** A list of one command that comes after everything that was ordered so far. */
  settle(): Ordered {
    const compute = LANE_NUMBER.compute;
    const issued: Command[] = [];
    for (const [lane, count] of this.submitted.entries()) {
      if (this.known(compute, lane) >= count) continue;
      const { event } = this.waitAt(compute, { lane, index: count, order: this.commands, clock: [], event: null });
      issued.push({ kind: "wait", lane: "compute", event });
    }
    const settle = { kind: "work", lane: "compute", work: { kind: "settle" }, reads: [], writes: [] } as const;
    const { commands, end } = this.order([settle]);
    return { commands: [...issued, ...commands], end };
  }

  /** The host has seen the event of `position` fire: whatever is ordered from now on comes after all that it knew. */
  hostSaw(position: Position): void {
    for (let lane = 0; lane < COUNT; lane++) this.learn(lane, position);
    this.freeEvents();
  }

  private advance(lane: number): Position {
    const index = at(this.counts, lane) + 1;
    this.counts[lane] = index;
    return { lane, index, order: this.commands++, clock: at(this.clocks, lane), event: null };
  }

  /** How far `lane` knows `other` to have come. */
  private known(lane: number, other: number): number {
    return at(lane === other ? this.counts : at(this.clocks, lane), other);
  }

  private learn(lane: number, position: Position): void {
    this.clocks[lane] = at(this.clocks, lane).map((known, other) => Math.max(known, knownBy(position, other)));
  }

  private waitFor(lane: number, { reads, writes }: Declared, issued: Issued[]): void {
    for (const resource of reads) this.need(lane, this.accesses[resource]?.write);
    for (const resource of writes) {
      const access = this.accesses[resource];
      if (access === undefined) continue;
      this.need(lane, access.write);
      for (const read of access.reads) this.need(lane, read);
    }
    for (let other = 0; other < COUNT; other++) {
      const position = at(this.needed, other);
      if (position === null || this.isImplied(position) || this.known(lane, other) >= position.index) continue;
      const { event } = this.waitAt(lane, position);
      issued.push({ kind: "wait", lane: at(LANES, lane), event });
    }
    this.needed.fill(null);
  }

  /** A wait implies all that the recording lane knew. */
  private isImplied(position: Position): boolean {
    for (const by of this.needed) if (by !== null && implies(by, position)) return true;
    return false;
  }

  /** Of several positions of one lane, the latest implies the others. */
  private need(lane: number, position: Position | null | undefined): void {
    if (position === null || position === undefined || position.lane === lane) return;
    if (at(at(this.clocks, lane), position.lane) >= position.index) return;
    const needed = at(this.needed, position.lane);
    if (needed === null || needed.index < position.index) this.needed[position.lane] = position;
  }

  private waitAt(lane: number, position: Position): Position & { readonly event: number } {
    const recorded = this.recordAt(position);
    this.learn(lane, recorded);
    return recorded;
  }

  /**
   * A wait holds on to the record before it: an event may be recorded anew behind the last command that waits for it.
   */
  private freeEvents(): void {
    for (let lane = 0; lane < COUNT; lane++) {
      const positions = at(this.recorded, lane);
      const least = Math.min(...LANES.map((_, by) => this.known(by, lane)));
      while (positions[0] !== undefined && positions[0].index <= least) {
        const { event } = positions.shift() as Position;
        if (event !== null) this.free.push({ event, from: this.commands });
      }
    }
  }

  /** The position itself, with an event; of a list that was handed out already, the next one that has one. */
  private recordAt(position: Position): Position & { readonly event: number } {
    const positions = at(this.recorded, position.lane);
    if (position.event === null && position.index <= at(this.submitted, position.lane)) {
      const next = positions.find(({ index }) => index >= position.index);
      if (next === undefined || next.event === null)
        throw new Error(`nothing was recorded on ${at(LANES, position.lane)} from command ${position.index} on`);
      return next as Position & { readonly event: number };
    }
    if (position.event === null) {
      position.event = this.takeEvent(position);
      // Kept in order: positions of one list are asked for in any order, and most of them in this one.
      let place = positions.length;
      while (place > 0 && at(positions, place - 1).index > position.index) place--;
      if (place === positions.length) positions.push(position);
      else positions.splice(place, 0, position);
    }
    return position as Position & { readonly event: number };
  }

  private takeEvent(position: Position): number {
    if (this.free.length === 0) this.freeEvents();
    const [oldest] = this.free;
    if (oldest === undefined || oldest.from > position.order) return this.events++;
    this.free.shift();
    return oldest.event;
  }

  private note(position: Position, { reads, writes }: Declared, touched: Access[]): void {
    for (const resource of writes) {
      const access = this.access(resource, position, touched);
      if (access === null) continue;
      access.write = position;
      access.reads.fill(null);
    }
    for (const resource of reads) {
      const access = this.access(resource, position, touched);
      if (access !== null) access.reads[position.lane] = position;
    }
  }

  /** Null for what one lane has to itself: its commands are in order anyway. */
  private access(resource: Resource, { lane }: Position, touched: Access[]): Access | null {
    if (!isShared(resource)) {
      if (at(LANES, lane) !== "compute")
        throw new Error(`${nameOf(resource)} belongs to the compute lane, and is touched on ${at(LANES, lane)}`);
      return null;
    }
    // Without holes, for an array with holes is as slow as a map.
    while (this.accesses.length <= resource) this.accesses.push(undefined);
    const access = this.accesses[resource] ?? { write: null, reads: LANES.map(() => null), list: 0 };
    this.accesses[resource] = access;
    if (access.list !== this.lists) touched.push(access);
    access.list = this.lists;
    return access;
  }

  /**
   * Records what a later list may have to wait for: the last touches of what lanes share, and the end of every lane, as
   * long as some lane does not know them to be done.
   */
  private keep(touched: readonly Access[], last: readonly (Position | null)[]): void {
    for (const { write, reads } of touched) {
      this.keepOne(write);
      for (const read of reads) this.keepOne(read);
    }
    for (const position of last) this.keepOne(position);
  }

  private keepOne(position: Position | null): void {
    if (position === null || position.index <= at(this.submitted, position.lane)) return;
    if (LANES.some((_, lane) => this.known(lane, position.lane) < position.index)) this.recordAt(position);
  }
}

function knownBy(position: Position, lane: number): number {
  return position.lane === lane ? position.index : at(position.clock, lane);
}

/** Whether whoever waits for `by` need not wait for `position`. */
function implies(by: Position, position: Position): boolean {
  return by !== position && knownBy(by, position.lane) >= position.index && knownBy(position, by.lane) < by.index;
}

function commandsOf(issued: readonly Issued[]): Command[] {
  const commands: Command[] = [];
  for (const entry of issued) {
    if ("kind" in entry) commands.push(entry);
    else if (entry.event !== null) commands.push({ kind: "record", lane: at(LANES, entry.lane), event: entry.event });
  }
  return commands;
}
