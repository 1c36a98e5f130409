/** Steps whose losses the caller computes: they split a step into its probes, and the coefficients. */
import { at } from "../base/at.js";
import type { ObjectiveContext } from "../config/objective.js";
import type { Example } from "../data/index.js";
import type { StepRequest } from "../device/requests.js";
import type { Loaded } from "../loaded.js";
import { type Probe, StepError, type StepOutcome } from "../method/index.js";
import { logitBatch, logitOutputs } from "./logit-outputs.js";
import { encodePrompts, type EncodedPrompt, type Objective, type ObjectiveLimits } from "./prompts.js";
import { generateAt } from "./text-losses.js";

/** What a step with such an objective came to. */
export interface ObjectiveStep {
  readonly outcome: StepOutcome;
  /** Tokens that went through the model, each once per forward pass of a probe. */
  readonly tokens: number;
}

/**
 * One step whose losses come from the caller. Nothing overlaps: all probes run, their results are brought to host
 * memory, the caller's function is awaited for each, and the coefficients go back to the device.
 *
 * @throws Zo2Error ZO2_ERR_MEMORY_BUDGET for more logits than `maxBytes`, ZO2_ERR_NOT_FINITE for a loss that is no
 *   finite number; what the caller's function throws. The step is not taken then.
 */
export async function objectiveStep(
  loaded: Loaded,
  objective: Objective,
  examples: readonly Example[],
  limits: ObjectiveLimits,
  request: StepRequest,
): Promise<ObjectiveStep> {
  const prompts = encodePrompts(loaded, examples, limits);
  const contexts = request.probes.map((probe) => contextOf(probe, request.step));
  const { losses, tokens } = await (objective.from === "text"
    ? lossesOfText(loaded, objective, prompts, limits, request, contexts)
    : lossesOfLogits(loaded, objective, prompts, limits, request, contexts));
  return { outcome: await loaded.session.finish(request, losses), tokens };
}

/** What the caller's function is told of a probe. */
function contextOf({ direction, sign }: Probe, step: number): ObjectiveContext {
  const branch = sign === 0 ? "weights" : sign === 1 ? "plus" : "minus";
  return { step, branch, direction };
}

interface Losses {
  readonly losses: readonly number[];
  readonly tokens: number;
}

async function lossesOfText(
  loaded: Loaded,
  objective: Extract<Objective, { from: "text" }>,
  prompts: readonly EncodedPrompt[],
  limits: ObjectiveLimits,
  request: StepRequest,
  contexts: readonly ObjectiveContext[],
): Promise<Losses> {
  const losses: number[] = [];
  let tokens = 0;
  for (const [p, context] of contexts.entries()) {
    const generated = await generateAt(at(request.probes, p), loaded, objective, prompts, limits, request);
    tokens += generated.tokens;
    losses.push(checked(await objective.loss(generated.outputs, context), context));
  }
  return { losses, tokens: tokens / contexts.length };
}

async function lossesOfLogits(
  loaded: Loaded,
  objective: Extract<Objective, { from: "logits" }>,
  prompts: readonly EncodedPrompt[],
  limits: ObjectiveLimits,
  request: StepRequest,
  contexts: readonly ObjectiveContext[],
): Promise<Losses> {
  const { session } = loaded;
  const wanted = logitBatch(loaded, objective, prompts, limits, contexts.length);
  const results = await session.probe(wanted.batch, request);
  const losses: number[] = [];
  for (const [p, context] of contexts.entries()) {
    const outputs = logitOutputs(wanted, at(results, p), session.recording.logits.columns);
    losses.push(checked(await objective.loss(outputs, context), context));
  }
  return { losses, tokens: wanted.batch.reduce((sum, b) => sum + b.tokens.length, 0) };
}

function checked(loss: unknown, { step, branch, direction }: ObjectiveContext): number {
  if (typeof loss === "number" && Number.isFinite(loss)) return loss;
  const where = direction === null ? branch : `${branch} of direction ${direction}`;
  throw new StepError(
    step,
    `, branch ${where}: the objective returned ${String(loss)}; it must return a finite number`,
  );
}
