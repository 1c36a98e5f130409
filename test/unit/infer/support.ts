import type { Session } from "../../../src/device/session.js";
import type { PackedBatch } from "../../../src/data/batch.js";
import type { Batch } from "../../../src/memory/batch-tables.js";

/** Passes that were run, each with the output that was asked for. */
export interface Seen {
  readonly batch: Batch;
  readonly output: unknown;
}

/** A session whose passes leave behind what `resultOf` says of each micro-batch. */
export function answeringSession(resultOf: (micro: PackedBatch) => Float32Array): { session: Session; seen: Seen[] } {
  const seen: Seen[] = [];
  const forward = async (batch: Batch, o: { readonly output?: unknown } = {}) => {
    seen.push({ batch, output: o.output });
    return batch.map(resultOf);
  };
  return { session: { forward } as unknown as Session, seen };
}

/** What is scored: a target's log-probability is a function of its token and of its place in its sequence. */
export function targetsOf({ tokens, positions, headRows, targets }: PackedBatch) {
  return Array.from({ length: targets.length / 2 }, (_, t) => {
    const row = headRows[targets[2 * t]];
    return { behind: tokens[row], position: positions[row] + 1, id: targets[2 * t + 1] };
  });
}
