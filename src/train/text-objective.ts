import type { TextOutput } from "../config/objective.js";
import { generateGroup } from "../infer/generate/index.js";
import type { Model } from "../model.js";
import type { StepRequest } from "../device/session.js";
import { groupByTokens } from "../infer/batching.js";
import type { EncodedPrompt, Objective, ObjectiveLimits } from "./objective.js";

type TextObjective = Extract<Objective, { from: "text" }>;

/** An odd constant whose multiples spread over 64 bits: 2^64 over the golden ratio. */
const SPREAD = 0x9e3779b97f4a7c15n;

/**
 * What the model writes behind the prompts with its weights on one side of their place. Both branches of a step draw
 * the same random numbers, so that they differ by their weights alone; another step draws others.
 */
export async function generateBranch(
  model: Model,
  { generate }: TextObjective,
  prompts: readonly EncodedPrompt[],
  limits: ObjectiveLimits,
  request: StepRequest,
  side: "plus" | "minus",
): Promise<{ readonly outputs: TextOutput[]; readonly tokens: number }> {
  const { session, tokenizer, dir, config, vocabSize, maxPositions } = model;
  const parts = { session, tokenizer, dir, config, vocabSize, maxPositions, maxTokens: limits.maxTokens };
  const seed = BigInt.asUintN(64, generate.seed + BigInt(request.step) * SPREAD);
  const { step, eps, noise } = request;
  const probe = { of: { seed: request.seed, step, eps, noise }, sign: side === "plus" ? 1 : -1 } as const;
  const outputs: TextOutput[] = [];
  let tokens = 0;
  for (const group of groupByTokens(prompts, ({ ids }) => ids.length, {
    ...limits,
    microBatchSize: generate.batchSize,
  })) {
    const results = await generateGroup(
      parts,
      group.map(({ ids }) => ids),
      { ...generate, seed },
      { firstSequence: outputs.length, probe },
    );
    group.forEach(({ record, ids }, i) => {
      const generated = results[i]?.ids ?? [];
      tokens += ids.length + generated.length;
      outputs.push({ record, ids: Array.from(ids), generated, text: results[i]?.text ?? "" });
    });
  }
  return { outputs, tokens };
}
