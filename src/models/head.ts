import { unsupported } from "./fields.js";
import type { ParameterSpec } from "../ops/parameter.js";
import type { Recorder } from "../ops/record.js";
import type { Value } from "../ops/value.js";

type Fields = Readonly<Record<string, unknown>>;

/**
 * What the labels of a classification mean, and so its loss: cross entropy, binary cross entropy of each label, or
 * squared error.
 */
export type Problem = "single_label_classification" | "multi_label_classification" | "regression";

/** What a model predicts. */
export type HeadSpec =
  /** The next token. */
  | { readonly kind: "causal" }
  /** Scores of labels, from the last token. */
  | { readonly kind: "classification"; readonly labels: readonly string[]; readonly problem: Problem }
  /** Where an answer starts and ends: two scores of every token. */
  | { readonly kind: "spans" };

const CAUSAL: HeadSpec = { kind: "causal" };
const PROBLEMS: readonly Problem[] = ["single_label_classification", "multi_label_classification", "regression"];

/** Reads the head from `architectures` and what belongs to it. Throws ZO2_ERR_MODEL_UNSUPPORTED, naming the field. */
export function readHead(config: Fields): HeadSpec {
  const names = config["architectures"];
  if (names === undefined || names === null || (Array.isArray(names) && names.length === 0)) return CAUSAL;
  const name = Array.isArray(names) && names.length === 1 ? (names[0] as unknown) : undefined;
  if (typeof name !== "string") throw unsupported("architectures", names, "one name is needed");
  // A base model stands for its language model; others that end so, as reward models do, have heads of their own.
  if (/ForCausalLM$|^(?!.*(For|DoubleHeads)).*Model$/.test(name)) return CAUSAL;
  if (name.endsWith("ForSequenceClassification")) return classification(config);
  if (name.endsWith("ForQuestionAnswering")) return { kind: "spans" };
  throw unsupported(
    "architectures",
    names,
    "causal language models, sequence classification and question answering are",
  );
}

function classification(config: Fields): HeadSpec {
  const labels = labelsOf(config);
  const given = config["problem_type"] ?? (labels.length === 1 ? "regression" : "single_label_classification");
  const problem = PROBLEMS.find((p) => p === given);
  if (problem === undefined) throw unsupported("problem_type", given, `use one of ${PROBLEMS.join(", ")}`);
  return { kind: "classification", labels, problem };
}

/** Names of the labels, by index; two unnamed ones where nothing is said, as in transformers. */
function labelsOf(config: Fields): string[] {
  const named = config["id2label"];
  const count = config["num_labels"] ?? 2;
  if (typeof named === "object" && named !== null && !Array.isArray(named)) {
    const labels = Object.entries(named).sort(([a], [b]) => Number(a) - Number(b));
    const complete =
      labels.length > 0 && labels.every(([id, label], i) => Number(id) === i && typeof label === "string");
    if (!complete) throw unsupported("id2label", named, "it must name the labels 0, 1, ... by texts");
    return labels.map(([, label]) => String(label));
  }
  if (typeof count !== "number" || !Number.isInteger(count) || count < 1 || count > 2 ** 20)
    throw unsupported("num_labels", count, "it must be a positive integer");
  return Array.from({ length: count }, (_, i) => `LABEL_${i}`);
}

/** Where a family's head reads from. */
export interface HeadSource {
  /** Columns of what the head reads. */
  readonly width: number;
  readonly vocabSize: number;
  /** The embedding's name, when the language model's head is tied to it. */
  readonly tied: string | null;
}

/** The parameters of a head, which come last in `named_parameters()`. */
export function headParameters(head: HeadSpec, { width, vocabSize, tied }: HeadSource): ParameterSpec[] {
  switch (head.kind) {
    case "causal":
      return tied === null ? [{ name: "lm_head.weight", shape: [vocabSize, width], decay: true }] : [];
    case "classification":
      return [{ name: "score.weight", shape: [head.labels.length, width], decay: true }];
    case "spans":
      return [
        { name: "qa_outputs.weight", shape: [2, width], decay: true },
        { name: "qa_outputs.bias", shape: [2], decay: false },
      ];
  }
}

/** Names under which a tied embedding may be stored instead of its own. */
export function tieAliases(head: HeadSpec, tied: string | null): ReadonlyMap<string, readonly string[]> {
  return new Map(head.kind === "causal" && tied !== null ? [[tied, ["lm_head.weight"]]] : []);
}

/** Records the head over x, which has the head rows. */
export function recordHead(r: Recorder, head: HeadSpec, x: Value, tied: string | null): void {
  switch (head.kind) {
    case "causal":
      r.head({ x, weight: r.parameter(tied ?? "lm_head.weight") });
      break;
    case "classification":
      r.head({ x, weight: r.parameter("score.weight") });
      break;
    case "spans":
      r.head({ x, weight: r.parameter("qa_outputs.weight"), bias: r.parameter("qa_outputs.bias") });
      break;
  }
}
