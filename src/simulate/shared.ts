/** Commands of several lanes on the same cores. */
import { at } from "../base/at.js";
import { type Lane, LANES } from "../schedule/command.js";
import { dependenciesOf, type Touching } from "./causes.js";

/** A command, the seconds that it takes alone, and the threads that it works on then. */
export interface SharedCommand extends Touching {
  readonly seconds: number;
  readonly threads: number;
}

interface Running {
  readonly index: number;
  readonly threads: number;
  left: number;
}

/**
 * When each command begins and ends. Those that run at once share `threads` cores as their threads do: where there are
 * more threads than cores, each gets the same part of one.
 */
export function runShared(
  commands: readonly SharedCommand[],
  threads: number,
): readonly { readonly begin: number; readonly end: number }[] {
  const before = dependenciesOf(commands);
  const begins = new Float64Array(commands.length);
  const ends = new Float64Array(commands.length).fill(Number.NaN);
  const queues = LANES.map((lane) => new LaneQueue(commands, lane));
  const running: Running[] = [];
  for (let now = 0, left = commands.length; left > 0; ) {
    for (const queue of queues) {
      const next = queue.next;
      if (next === null || at(before, next).some((index) => Number.isNaN(at(ends, index)))) continue;
      queue.take();
      begins[next] = now;
      const { seconds, threads: wanted } = at(commands, next);
      running.push({ index: next, threads: wanted, left: seconds });
    }
    const wanted = running.reduce((sum, command) => sum + command.threads, 0);
    const speed = Math.min(1, threads / wanted);
    const passed = Math.min(...running.map((command) => command.left));
    now += passed / speed;
    for (let i = running.length - 1; i >= 0; i--) {
      const command = at(running, i);
      command.left -= passed;
      if (command.left > 0) continue;
      ends[command.index] = now;
      running.splice(i, 1);
      left--;
    }
  }
  return commands.map((_, i) => ({ begin: at(begins, i), end: at(ends, i) }));
}

/** The commands of a lane, in order. */
class LaneQueue {
  private readonly indices: readonly number[];
  private taken = 0;

  constructor(commands: readonly SharedCommand[], lane: Lane) {
    this.indices = commands.flatMap((command, index) => (command.lane === lane ? [index] : []));
  }

  get next(): number | null {
    return this.indices[this.taken] ?? null;
  }

  take(): void {
    this.taken++;
  }
}
