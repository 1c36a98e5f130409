import { batchLoss, choiceScores, type EncodedChoices, inOrder, isRight, logitLoss } from "../data/index.js";
import { at } from "../base/at.js";
import { Zo2Error } from "../base/errors.js";
import type { HeadSpec } from "../models/head.js";
import type { Output } from "../ops/value.js";
import type { Session } from "../device/session.js";
import { type PackOptions, packGroups } from "./batching.js";
import type { EncodedSource } from "./encoded-source.js";

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

/** What an evaluation needs of the head; undefined: what the objective of its batches does. */
export function evaluationOutput(head: HeadSpec): Output | undefined {
  return head.kind === "causal" ? undefined : "logits";
}

/** Loss and, with choices, accuracy over a whole data set, in its own order; sums in fp64. */
export async function evaluateSource(
  session: Session,
  head: HeadSpec,
  source: EncodedSource,
  options: PackOptions & { readonly batchSize: number },
  signal?: AbortSignal,
): Promise<Evaluation> {
  const start = performance.now();
  let sum = 0;
  let labelled = 0;
  let correct = 0;
  let called = 0;
  let tokens = 0;
  let examples = 0;
  for await (const group of inOrder(source, options.batchSize)) {
    if (signal?.aborted === true)
      throw new Zo2Error(
        "ZO2_ERR_ABORTED",
        `evaluation of ${source.name}: stopped after ${examples} of ${source.size} examples`,
        { cause: signal.reason },
      );
    const batch = packGroups(group, options);
    const results = await session.forward(batch, { output: evaluationOutput(head) });
    const withChoices = group.filter((example): example is EncodedChoices => example.kind === "choices");
    let next = 0;
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
      for (const prediction of choiceScores(micro, values).predictions) {
        called++;
        if (isRight(at(withChoices, next++), prediction)) correct++;
      }
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
