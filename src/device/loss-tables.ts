import { CHOICE_FIELDS, EXAMPLE_FIELDS, type PackedBatch, SPAN_FIELDS, TARGET_FIELDS } from "../data/batch.js";
import { LOSS } from "../contract/constants.js";
import { objectiveTables } from "../memory/batch-tables.js";
import { offsetBy } from "./place.js";
import type { LossArgs, Span } from "./words.js";

type Tables = Pick<LossArgs, "kind" | "targets" | "labels" | "choices" | "choiceCount" | "examples" | "exampleCount">;

/**
 * What a loss reads besides the values: its kind, how many values, and the tables of `objectiveTables`, which lie one
 * behind the other at `at`.
 */
export function lossTables(micro: PackedBatch, at: Span): Tables {
  const { objective } = micro;
  const none = { labels: null, choices: null, choiceCount: 0, examples: null, exampleCount: 0 };
  const targets = micro.targets.length / TARGET_FIELDS;
  switch (objective.kind) {
    case "tokens":
    case "none":
      return { ...none, kind: LOSS.tokens, targets };
    case "choices": {
      const [choices = new Int32Array()] = objectiveTables(micro);
      return {
        ...none,
        kind: objective.reduction === "mean" ? LOSS.choicesMean : LOSS.choicesSum,
        targets,
        choices: at,
        choiceCount: choices.length / CHOICE_FIELDS,
        examples: offsetBy(at, choices.byteLength),
        exampleCount: objective.examples.length / EXAMPLE_FIELDS,
      };
    }
    case "values":
      return { ...none, kind: LOSS[objective.loss], targets: objective.labels.length, labels: at };
    case "spans":
      return {
        ...none,
        kind: LOSS.spans,
        targets: 2 * micro.headRows.length,
        examples: at,
        exampleCount: objective.examples.length / SPAN_FIELDS,
      };
  }
}
