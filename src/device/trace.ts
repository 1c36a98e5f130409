import type { Device, Event, Program } from "zo2/native";
import { at } from "../base/at.js";
import { symbolsOf } from "../memory/batch-tables.js";
import { loweredOps, spaceBytes, unitProgram } from "../memory/operands.js";
import type { Plan } from "../memory/plan.js";
import type { UnitOp } from "../ops/encode.js";
import type { Inputs } from "../ops/value.js";
import type { Work } from "../schedule/command.js";
import { type Amounts, amountsOf, opAmounts, type PassSizes } from "../simulate/amounts.js";
import type { Touching } from "../simulate/causes.js";
import type { Issue } from "./issue.js";
import type { PassData } from "./pass-data.js";
import type { Encode } from "./queue.js";
import type { CommandWords } from "./words.js";

/** One command as it ran, or with `ops` one op of a unit's program. Seconds of the device's clock. */
export interface TracedSpan extends Amounts, Touching {
  readonly work: Work;
  /** What the command was; for an op its name. */
  readonly what: string;
  readonly unit?: number;
  readonly probe?: number;
  readonly begin: number;
  readonly end: number;
}

interface Pending extends Omit<TracedSpan, "begin" | "end"> {
  readonly events: readonly [Event, Event];
}

/** Times the commands of passes, by an event before and one behind each, on its own lane. */
export class Trace {
  private pending: Pending[] = [];
  /** Of the plan in force, by unit: its ops, and a program for each. */
  private programs: { readonly plan: Plan; readonly units: readonly (readonly OpProgram[])[] } | null = null;

  /** @param ops whether a unit's program runs op by op, each timed by itself. */
  constructor(
    private readonly device: Device,
    private readonly inputs: Inputs,
    private readonly ops: boolean,
  ) {}

  /** Puts events around what `encode` adds for a pass over `plan`. */
  around(plan: Plan, issue: Issue, data: PassData, encode: Encode): Encode {
    return (words, stream, command) => {
      const { lane, work, reads, writes } = command;
      if (work.kind === "run" && this.ops) {
        for (const { op, program } of this.programsOf(plan, work.unit)) {
          const symbols = sizesOf(data).symbolsOf(work.microBatch);
          const about = { lane, work, reads, writes, what: op.op.name, ...placeOf(work) };
          this.between(words, stream, { ...about, ...opAmounts(plan, op, symbols) }, () =>
            issue.run(words, stream, work, program),
          );
        }
        return;
      }
      const about = { lane, work, reads, writes, what: work.kind, ...placeOf(work) };
      this.between(words, stream, { ...about, ...amountsOf(plan, this.inputs, work, sizesOf(data)) }, () =>
        encode(words, stream, command),
      );
    };
  }

  /** The spans since the last call. Everything submitted must have run. */
  take(): TracedSpan[] {
    const spans = this.pending.map(({ events: [before, behind], ...span }) => {
      const timed = { ...span, begin: before.time(), end: behind.time() };
      before.dispose();
      behind.dispose();
      return timed;
    });
    this.pending = [];
    return spans;
  }

  /** Forgets what was not taken. */
  dispose(): void {
    for (const { events } of this.pending) for (const event of events) event.dispose();
    this.pending = [];
  }

  private between(
    words: CommandWords,
    stream: Parameters<Encode>[1],
    about: Omit<Pending, "events">,
    add: () => void,
  ): void {
    const events = [this.device.createEvent(), this.device.createEvent()] as const;
    words.record(stream, events[0]);
    add();
    words.record(stream, events[1]);
    this.pending.push({ ...about, events });
  }

  private programsOf(plan: Plan, unit: number): readonly OpProgram[] {
    if (this.programs?.plan !== plan) {
      for (const { program } of this.programs?.units.flat() ?? []) program.dispose();
      const spaces = spaceBytes(plan);
      const units = plan.units.map((u) =>
        loweredOps(plan, u, this.inputs).map((op) => ({
          op,
          program: this.device.createProgram(unitProgram(plan, u, this.inputs, [op]), spaces),
        })),
      );
      this.programs = { plan, units };
    }
    return at(this.programs.units, unit);
  }
}

interface OpProgram {
  readonly op: UnitOp;
  readonly program: Program;
}

function placeOf(work: Work): { readonly unit?: number; readonly probe?: number } {
  if (work.kind === "run") return { unit: work.unit, probe: work.probe };
  return "unit" in work ? { unit: work.unit } : {};
}

function sizesOf(data: PassData): PassSizes {
  const symbols = (microBatch: number) => {
    if (data.kind === "flush") throw new Error("a flush runs nothing");
    return symbolsOf(at(data.batch, microBatch), data.table);
  };
  return { pending: data.pending.reduce((sum, { directions }) => sum + directions, 0), symbolsOf: symbols };
}
