/** Memory plans of passes that nobody has asked for yet. */
import { type EncodedExample, packBatch } from "../data/index.js";
import type { Session } from "../device/session.js";
import type { Plan } from "../memory/plan.js";
import type { Batch } from "../memory/batch-tables.js";
import type { Probe } from "../method/index.js";
import type { HeadSpec } from "../models/head.js";

/** The fewest tokens of a sequence: one that another is predicted from. */
export const SHORTEST = 2;

export interface Ahead {
  readonly session: Session;
  readonly head: HeadSpec;
  readonly vocabSize: number;
  readonly probes: readonly Probe[];
}

/**
 * For one sequence of `length` tokens, all different as far as there are so many.
 * @throws Zo2Error ZO2_ERR_MEMORY_BUDGET
 */
export function planForLength(ahead: Ahead, length: number): Plan {
  return ahead.session.planForBatch(batchOf(ahead, length), ahead.probes);
}

/**
 * For the longest sequence of at most `most` tokens that the allowed memory holds.
 * @throws Zo2Error ZO2_ERR_MEMORY_BUDGET where it does not hold the shortest
 */
export function planForLongest(ahead: Ahead, most: number): Plan {
  const within = (length: number) => ahead.session.planWithinBudget(batchOf(ahead, length), ahead.probes);
  // Doubled from below: a plan for far more than fits costs as much as all that are needed.
  let length = Math.min(SHORTEST, most);
  let plan = planForLength(ahead, length);
  let over = most + 1;
  while (length + 1 < over) {
    const next = over > most ? Math.min(2 * length, most) : Math.floor((length + over) / 2);
    const found = within(next);
    if (found === null) over = next;
    else [plan, length] = [found, next];
    if (length === most) break;
  }
  return plan;
}

function batchOf({ head, vocabSize }: Ahead, length: number): Batch {
  const ids = Int32Array.from({ length: Math.max(SHORTEST, length) }, (_, i) => i % vocabSize);
  return [packBatch([exampleOf(head, ids)])];
}

/** An example of these tokens as a head learns from it, whatever its labels. */
export function exampleOf(head: HeadSpec, ids: Int32Array): EncodedExample {
  switch (head.kind) {
    case "causal":
      return { kind: "tokens", ids, labels: ids };
    case "classification":
      return { kind: "labelled", ids, labels: head.labels.map(() => 0), problem: head.problem };
    case "spans":
      return { kind: "span", ids, start: 0, end: 0 };
  }
}
