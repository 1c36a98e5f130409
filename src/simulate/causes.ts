/** What commands come after, and what they waited for. */
import { at } from "../base/at.js";
import type { Lane, Work } from "../schedule/command.js";
import type { Resource } from "../schedule/resource.js";

/** A command with what it touches, in the order in which commands are submitted. */
export interface Touching {
  readonly lane: Lane;
  readonly reads: readonly Resource[];
  readonly writes: readonly Resource[];
}

/**
 * For each command those that have to end before it may begin, by their places: the one before it on its lane, those
 * that wrote what it touches last, and those that have read since what it writes.
 */
export function dependenciesOf(commands: readonly Touching[]): readonly (readonly number[])[] {
  const lanes = new Map<Lane, number>();
  const written = new Map<Resource, number>();
  const read = new Map<Resource, number[]>();
  return commands.map(({ lane, reads, writes }, i) => {
    const before = new Set<number>();
    const after = (index: number | undefined) => index !== undefined && before.add(index);
    after(lanes.get(lane));
    for (const resource of [...reads, ...writes]) after(written.get(resource));
    for (const resource of writes) read.get(resource)?.forEach(after);
    lanes.set(lane, i);
    for (const resource of reads) read.set(resource, [...(read.get(resource) ?? []), i]);
    for (const resource of writes) {
      written.set(resource, i);
      read.delete(resource);
    }
    return [...before];
  });
}

/** What a command waited for: the last to end of those that it comes after, on another lane. */
export interface Cause {
  readonly lane: Lane;
  readonly what: Work["kind"];
  readonly unit?: number;
}

/** For each command what it waited for while its lane was free; null where it was not. */
export function causesOf(
  commands: readonly (Touching & { readonly work: Work; readonly end: number })[],
): readonly (Cause | null)[] {
  return dependenciesOf(commands).map((before, i) => {
    const { lane } = at(commands, i);
    const last = before
      .map((index) => at(commands, index))
      .reduce<(typeof commands)[number] | null>(
        // Of those that end together the lane's own: then there was no wait.
        (a, b) => (a === null || b.end > a.end || (b.end === a.end && b.lane === lane) ? b : a),
        null,
      );
    if (last === null || last.lane === lane) return null;
    return { lane: last.lane, what: last.work.kind, ...("unit" in last.work ? { unit: last.work.unit } : {}) };
  });
}
