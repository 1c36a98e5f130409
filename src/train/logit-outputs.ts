import { inspect } from "node:util";
import { formatBytes } from "../base/bytes.js";
import { at } from "../base/at.js";
import { Zo2Error } from "../base/errors.js";
import type { LogitOutput } from "../config/objective.js";
import { packPositions } from "../data/index.js";
import { groupItems } from "../infer/batching.js";
import type { Loaded } from "../loaded.js";
import type { Batch } from "../memory/batch-tables.js";
import type { EncodedPrompt, Objective, ObjectiveLimits } from "./prompts.js";

type LogitObjective = Extract<Objective, { from: "logits" }>;

/** A batch of prompts, and the tokens of each behind which logits are wanted. */
export interface LogitBatch {
  readonly prompts: readonly EncodedPrompt[];
  readonly positions: readonly (readonly number[])[];
  readonly batch: Batch;
}

/**
 * @param probes whose logits a step brings to host memory.
 * @throws Zo2Error ZO2_ERR_MEMORY_BUDGET for more logits than `maxBytes`, ZO2_ERR_INVALID_ARGUMENT for positions that
 *   are none of the prompt's
 */
export function logitBatch(
  { session }: Loaded,
  objective: LogitObjective,
  prompts: readonly EncodedPrompt[],
  { limits }: ObjectiveLimits,
  probes: number,
): LogitBatch {
  const positions = prompts.map((prompt, i) => positionsOf(objective, prompt, i));
  const rows = positions.reduce((sum, p) => sum + p.length, 0);
  const bytes = rows * session.recording.logits.columns * Float32Array.BYTES_PER_ELEMENT * probes;
  if (bytes > objective.maxBytes) {
    throw new Zo2Error(
      "ZO2_ERR_MEMORY_BUDGET",
      `the objective asks for ${formatBytes(bytes)} of logits a step, and ${formatBytes(objective.maxBytes)} are ` +
        "allowed; ask for fewer positions, lower the batch size, or raise objective.maxBytes",
    );
  }
  const sequences = prompts.map(({ ids }, i) => ({ ids, positions: at(positions, i) }));
  const batch = groupItems(sequences, ({ ids }) => ids.length, limits).map((group) => packPositions(group));
  return { prompts, positions, batch };
}

function positionsOf(objective: LogitObjective, { ids, record }: EncodedPrompt, index: number): readonly number[] {
  const wanted = objective.positions?.(Array.from(ids), record) ?? [ids.length - 1];
  const ascending = (p: number, k: number) => Number.isInteger(p) && p > (wanted[k - 1] ?? -1) && p < ids.length;
  if (!Array.isArray(wanted) || wanted.length === 0 || !wanted.every(ascending)) {
    const gave = inspect(wanted, { maxArrayLength: 8, depth: 0, breakLength: Infinity });
    throw new Zo2Error(
      "ZO2_ERR_INVALID_ARGUMENT",
      `objective.positions of example ${index} of the batch gave ${gave}; it must give tokens 0 to ` +
        `${ids.length - 1}, ascending, at least one`,
    );
  }
  return wanted;
}

/** Results by micro-batch, in the order of the prompts, as one output for each prompt. */
export function logitOutputs(
  { prompts, positions }: LogitBatch,
  results: readonly Float32Array[],
  columns: number,
): LogitOutput[] {
  const rows = results.flatMap((logits) =>
    Array.from({ length: logits.length / columns }, (_, r) => logits.subarray(r * columns, (r + 1) * columns)),
  );
  let next = 0;
  return prompts.map(({ record, ids }, i) => {
    const own = at(positions, i);
    const logits = rows.slice(next, next + own.length);
    next += own.length;
    return { record, ids: Array.from(ids), positions: own, logits };
  });
}
