import type { TextOutput } from "../config/objective.js";
import { at } from "../base/at.js";
import type { StepRequest } from "../device/requests.js";
import { groupItems } from "../infer/batching.js";
import { generateGroup } from "../infer/generate/index.js";
import { generating, type Loaded } from "../loaded.js";
import type { Probe } from "../method/index.js";
import type { EncodedPrompt, Objective, ObjectiveLimits } from "./prompts.js";

type TextObjective = Extract<Objective, { from: "text" }>;

/** An odd constant whose multiples spread over 64 bits: 2^64 over the golden ratio. */
const SPREAD = 0x9e3779b97f4a7c15n;

/**
 * What the model writes behind the prompts with its weights where a probe stands. All probes of a step draw the same
 * random numbers, so that they differ by their weights alone; another step draws others.
 */
export async function generateAt(
  probe: Probe,
  loaded: Loaded,
  { generate }: TextObjective,
  prompts: readonly EncodedPrompt[],
  { limits }: ObjectiveLimits,
  request: StepRequest,
): Promise<{ readonly outputs: TextOutput[]; readonly tokens: number }> {
  const seed = BigInt.asUintN(64, generate.seed + BigInt(request.step) * SPREAD);
  const outputs: TextOutput[] = [];
  let tokens = 0;
  const groups = groupItems(prompts, ({ ids }) => ids.length, { ...limits, items: generate.batchSize });
  for (const group of groups) {
    const results = await generateGroup(
      generating(loaded, limits.tokens),
      group.map(({ ids }) => ids),
      { ...generate, seed },
      { firstSequence: outputs.length, probe: { of: request, at: probe } },
    );
    group.forEach(({ record, ids }, i) => {
      const { ids: generated, text } = at(results, i);
      tokens += ids.length + generated.length;
      outputs.push({ record, ids: Array.from(ids), generated, text: text ?? "" });
    });
  }
  return { outputs, tokens };
}
