/** Objectives that the caller computes: they split a step into its two branches, and g. */
import { inspect } from "node:util";
import { at } from "../base/at.js";
import type { LogitOutput, ObjectiveContext } from "../config/objective.js";
import type { ResolvedTrainerOptions } from "../config/trainer.js";
import { formatBytes } from "../base/bytes.js";
import { packPositions, type Example } from "../data/index.js";
import { Zo2Error } from "../base/errors.js";
import { encodePrompt } from "../infer/generate/index.js";
import type { Model } from "../model.js";
import type { Batch } from "../memory/batch-tables.js";
import type { StepRequest } from "../device/session.js";
import type { StepOutcome } from "../method/index.js";
import { groupByTokens } from "../infer/batching.js";
import { generateBranch } from "./text-objective.js";

export type Objective = NonNullable<ResolvedTrainerOptions["objective"]>;
type LogitObjective = Extract<Objective, { from: "logits" }>;
type PromptExample = Extract<Example, { kind: "prompt" }>;

export interface ObjectiveLimits {
  readonly maxLength: number;
  readonly microBatchSize: number;
  readonly maxTokens: number;
}

/** A prompt in tokens, with the record it came from. */
export interface EncodedPrompt {
  readonly record: Readonly<Record<string, unknown>>;
  readonly ids: Int32Array;
}

/** What a step with such an objective came to. */
export interface ObjectiveStep {
  readonly result: StepOutcome;
  /** Tokens that went through the model, each once per forward pass of a branch. */
  readonly tokens: number;
}

/**
 * One step whose losses come from the caller. Nothing overlaps: both branches run, their results are brought to host
 * memory, the caller's function is awaited for each, and g goes back to the device.
 *
 * @throws Zo2Error ZO2_ERR_MEMORY_BUDGET for more logits than `maxBytes`, ZO2_ERR_NOT_FINITE for a loss that is no
 *   finite number; what the caller's function throws. The step is not taken then.
 */
export async function objectiveStep(
  model: Model,
  objective: Objective,
  examples: readonly Example[],
  limits: ObjectiveLimits,
  request: StepRequest,
): Promise<ObjectiveStep> {
  const prompts = examples.map((example): EncodedPrompt => {
    if (example.kind !== "prompt") throw new Zo2Error("ZO2_ERR_DATA", `${example.place}: is no prompt of an objective`);
    return { record: example.record, ids: encodeOne(model, example, limits) };
  });
  const plus: ObjectiveContext = { step: request.step, branch: "plus" };
  const minus: ObjectiveContext = { step: request.step, branch: "minus" };
  if (objective.from === "text") {
    const losses: number[] = [];
    let tokens = 0;
    for (const context of [plus, minus]) {
      const { outputs, tokens: own } = await generateBranch(model, objective, prompts, limits, request, context.branch);
      tokens += own;
      losses.push(checked(await objective.loss(outputs, context), context));
    }
    return { result: await model.session.finish(request, losses), tokens: tokens / 2 };
  }
  const { batch, positions } = logitBatch(model, objective, prompts, limits);
  const results = await model.session.probe(batch, request);
  const losses: number[] = [];
  for (const [probe, context] of [plus, minus].entries()) {
    const outputs = logitOutputs(prompts, positions, at(results, probe), model.logitColumns);
    losses.push(checked(await objective.loss(outputs, context), context));
  }
  return {
    result: await model.session.finish(request, losses),
    tokens: batch.reduce((sum, b) => sum + b.tokens.length, 0),
  };
}

function checked(loss: unknown, { step, branch }: ObjectiveContext): number {
  if (typeof loss === "number" && Number.isFinite(loss)) return loss;
  throw new Zo2Error(
    "ZO2_ERR_NOT_FINITE",
    `step ${step}, branch ${branch}: the objective returned ${String(loss)}; it must return a finite number`,
  );
}

function encodeOne(model: Model, { prompt, place }: PromptExample, { maxLength }: ObjectiveLimits): Int32Array {
  // One more than the prompt may have: nothing has to follow it.
  return encodePrompt(model.tokenizer, prompt, place, { maxPositions: maxLength + 1, vocabSize: model.vocabSize });
}

function logitBatch(
  model: Model,
  objective: LogitObjective,
  prompts: readonly EncodedPrompt[],
  limits: ObjectiveLimits,
): { batch: Batch; positions: readonly (readonly number[])[] } {
  const positions = prompts.map(({ ids, record }, i) => {
    const wanted = objective.positions?.(Array.from(ids), record) ?? [ids.length - 1];
    const ascending = (p: number, k: number) => Number.isInteger(p) && p > (wanted[k - 1] ?? -1) && p < ids.length;
    if (!Array.isArray(wanted) || wanted.length === 0 || !wanted.every(ascending)) {
      const gave = inspect(wanted, { maxArrayLength: 8, depth: 0, breakLength: Infinity });
      throw new Zo2Error(
        "ZO2_ERR_INVALID_ARGUMENT",
        `objective.positions of example ${i} of the batch gave ${gave}; it must give tokens 0 to ` +
          `${ids.length - 1}, ascending, at least one`,
      );
    }
    return wanted;
  });
  const bytes = positions.reduce((sum, p) => sum + p.length, 0) * model.logitColumns * 4 * 2;
  if (bytes > objective.maxBytes) {
    throw new Zo2Error(
      "ZO2_ERR_MEMORY_BUDGET",
      `the objective asks for ${formatBytes(bytes)} of logits a step, and ${formatBytes(objective.maxBytes)} ` +
        "are allowed; ask for fewer positions, lower the batch size, or raise objective.maxBytes",
    );
  }
  const sequences = prompts.map(({ ids }, i) => ({ ids, positions: positions[i] ?? [] }));
  return {
    batch: groupByTokens(sequences, ({ ids }) => ids.length, limits).map((group) => packPositions(group)),
    positions,
  };
}

/** Results by micro-batch, in the order of the prompts, as one output for each prompt. */
function logitOutputs(
  prompts: readonly EncodedPrompt[],
  positions: readonly (readonly number[])[],
  results: readonly Float32Array[],
  columns: number,
): LogitOutput[] {
  const rows = results.flatMap((logits) =>
    Array.from({ length: logits.length / columns }, (_, r) => logits.subarray(r * columns, (r + 1) * columns)),
  );
  let first = 0;
  return prompts.map(({ record, ids }, i) => {
    const own = positions[i] ?? [];
    const logits = rows.slice(first, first + own.length);
    first += own.length;
    return { record, ids: Array.from(ids), positions: own, logits };
  });
}
