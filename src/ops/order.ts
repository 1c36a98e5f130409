/**
 * The order of ops under an adapter. Units of a base stream, those of an adapter stay: ops that have to do with neither
 * stand where as few borders between the two are as can be. What each op computes is the same in any order.
 */
import { isOfAdapter } from "./parameter.js";
import { parametersOf, type Recording, valuesOf } from "./record.js";
import type { Op } from "./row.js";
import type { Value } from "./value.js";

/** Whose parameters are used. */
export type Side = "base" | "adapter";

/**
 * Whose parameters ops use that stand together; null: they have none.
 * @throws Error where they use those of an adapter and of its base
 */
export function sideOf(ops: readonly Op[]): Side | null {
  const sides = new Set(ops.flatMap(parametersOf).map((used): Side => (isOfAdapter(used) ? "adapter" : "base")));
  if (sides.size > 1) throw new Error(`${ops[0]?.name ?? "an op"} uses parameters of the adapter and of the base`);
  const [side = null] = sides;
  return side;
}

/** The same recording; in each block ops of the adapter wait until nothing else can go on without them. */
export function adapterLate(recording: Recording): Recording {
  return { ...recording, blocks: recording.blocks.map((block) => ({ ...block, ops: late(block.ops) })) };
}

function late(ops: readonly Op[]): readonly Op[] {
  const groups = groupsOf(ops);
  const waitsFor = groups.map((group, i) => {
    return new Set(groups.flatMap((before, j) => (j < i && touches(before, group) ? [j] : [])));
  });
  const left = new Set(groups.keys());
  const order: Group[] = [];
  while (left.size > 0) {
    const ready = [...left].filter((i) => [...(waitsFor[i] ?? [])].every((before) => !left.has(before)));
    // In the order of the recording, so that nothing moves that need not.
    const next = ready.find((i) => groups[i]?.isLate === false) ?? ready[0];
    const group = next === undefined ? undefined : groups[next];
    if (next === undefined || group === undefined) throw new Error("ops wait for each other");
    // What the adapter has to do meanwhile it does at once.
    const taken = group.isLate ? ready.filter((i) => groups[i]?.isLate === true) : [next];
    for (const i of taken) {
      left.delete(i);
      const own = groups[i];
      if (own !== undefined) order.push(own);
    }
  }
  return order.flatMap((group) => group.ops);
}

interface Group {
  readonly ops: readonly Op[];
  readonly isLate: boolean;
  readonly writes: ReadonlySet<Value>;
  readonly uses: ReadonlySet<Value>;
}

/** Ops that stand side by side always. */
function groupsOf(ops: readonly Op[]): readonly Group[] {
  const groups: Op[][] = [];
  let isOpen = false;
  for (const op of ops) {
    if (isOpen) groups.at(-1)?.push(op);
    else groups.push([op]);
    isOpen = op.row.joined === true;
  }
  return groups.map((group) => ({
    ops: group,
    isLate: sideOf(group) === "adapter",
    writes: new Set(group.flatMap((op) => all(op, "out"))),
    uses: new Set(group.flatMap((op) => all(op))),
  }));
}

/** Whatever a pass makes of the head. */
function all(op: Op, role?: "out"): readonly Value[] {
  return (["logprobs", "logits"] as const).flatMap((output) => valuesOf(op, output, role));
}

/** Whether one uses what the other writes. */
function touches(a: Group, b: Group): boolean {
  return [...a.uses].some((value) => b.writes.has(value)) || [...b.uses].some((value) => a.writes.has(value));
}
