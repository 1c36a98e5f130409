import { batchLoss, choiceScores, inOrder, type Dataset } from "../data/index.js";
import { Zo2Error } from "../errors.js";
import type { Engine } from "../schedule/engine.js";
import type { Tokenizer } from "../tokenizer/index.js";
import { encodeBatch, type EncodeBatchOptions } from "./encode-batch.js";

export interface Evaluation {
  /** Mean cross entropy: over labelled tokens, or over the scores of the choices. */
  readonly loss: number;
  /** Share of examples whose best-scored choice is the right one; null without choices. */
  readonly accuracy: number | null;
  readonly examples: number;
  /** Labelled tokens, or examples with choices. */
  readonly labelled: number;
  /** Tokens that went through the model. */
  readonly tokens: number;
  readonly seconds: number;
}

/** Loss and, with choices, accuracy over a whole data set, in its own order; sums in fp64. */
export async function evaluateDataset(
  engine: Engine, tokenizer: Tokenizer | null, dataset: Dataset, options: EncodeBatchOptions & { readonly batchSize: number }, signal?: AbortSignal,
): Promise<Evaluation> {
  const start = performance.now();
  let sum = 0;
  let labelled = 0;
  let correct = 0;
  let withChoices = 0;
  let tokens = 0;
  let examples = 0;
  for await (const group of inOrder(dataset, options.batchSize)) {
    if (signal?.aborted === true) throw new Zo2Error("ZO2_ERR_ABORTED", `evaluation of ${dataset.name}: stopped after ${examples} of ${dataset.size} examples`, { cause: signal.reason });
    const batch = encodeBatch(tokenizer, group, options);
    const results = await engine.forward(batch);
    batch.forEach((micro, i) => {
      const logprobs = results[i] ?? new Float32Array();
      const loss = batchLoss(micro, logprobs);
      sum += loss.sum;
      labelled += loss.count;
      tokens += micro.tokens.length;
      if (micro.objective.kind !== "choices") return;
      const labels = micro.objective.examples;
      choiceScores(micro, logprobs).predictions.forEach((prediction, e) => {
        withChoices++;
        if (prediction === labels[e * 3 + 2]) correct++;
      });
    });
    examples += group.length;
  }
  return {
    loss: sum / labelled,
    accuracy: withChoices === 0 ? null : correct / withChoices,
    examples, labelled, tokens,
    seconds: (performance.now() - start) / 1000,
  };
}
