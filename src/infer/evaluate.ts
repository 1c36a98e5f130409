import { batchLoss, choiceScores, inOrder, logitLoss, type Dataset } from "../data/index.js";
import { at } from "../base/at.js";
import { Zo2Error } from "../base/errors.js";
import { EXAMPLE_FIELDS } from "../data/batch.js";
import type { HeadSpec } from "../models/head.js";
import type { Session } from "../device/session.js";
import type { Tokenizer } from "../tokenizer/index.js";
import { encodeBatch, type EncodeBatchOptions } from "./batching.js";

export interface Evaluation {
  /**
   * Mean loss: over labelled tokens, over the scores of the choices, or of a classifier's, a regression's or an
   * answer's own kind.
   */
  readonly loss: number;
  /**
   * Share of examples whose best-scored choice, class or answer is the right one (of several labels at once: of the
   * labels); else null.
   */
  readonly accuracy: number | null;
  readonly examples: number;
  /** What the loss is a mean of: labelled tokens, examples, or labelled values. */
  readonly labelled: number;
  /** Tokens that went through the model. */
  readonly tokens: number;
  readonly seconds: number;
}

/** Loss and, with choices, accuracy over a whole data set, in its own order; sums in fp64. */
export async function evaluateDataset(
  session: Session,
  tokenizer: Tokenizer | null,
  head: HeadSpec,
  dataset: Dataset,
  options: EncodeBatchOptions & { readonly batchSize: number },
  signal?: AbortSignal,
): Promise<Evaluation> {
  const start = performance.now();
  let sum = 0;
  let labelled = 0;
  let correct = 0;
  let called = 0;
  let tokens = 0;
  let examples = 0;
  for await (const group of inOrder(dataset, options.batchSize)) {
    if (signal?.aborted === true)
      throw new Zo2Error(
        "ZO2_ERR_ABORTED",
        `evaluation of ${dataset.name}: stopped after ${examples} of ${dataset.size} examples`,
        { cause: signal.reason },
      );
    const batch = encodeBatch(tokenizer, group, options);
    const results = await session.forward(batch, { output: head.kind === "causal" ? undefined : "logits" });
    batch.forEach((micro, i) => {
      const values = at(results, i);
      const loss =
        head.kind === "causal" ? { ...batchLoss(micro, values), correct: 0, called: 0 } : logitLoss(micro, values);
      sum += loss.sum;
      labelled += loss.count;
      tokens += micro.tokens.length;
      called += loss.called;
      correct += loss.correct ?? 0;
      if (micro.objective.kind !== "choices") return;
      const labels = micro.objective.examples;
      choiceScores(micro, values).predictions.forEach((prediction, e) => {
        called++;
        if (prediction === labels[(e + 1) * EXAMPLE_FIELDS - 1]) correct++;
      });
    });
    examples += group.length;
  }
  return {
    loss: sum / labelled,
    accuracy: called === 0 ? null : correct / called,
    examples,
    labelled,
    tokens,
    seconds: (performance.now() - start) / 1000,
  };
}
