/** Examples of models that predict labels or answers instead of tokens. */
import { isRecord } from "../base/guards.js";
import type { HeadSpec } from "../models/head.js";
import type { Example, ExampleParser } from "./example.js";
import { checkIds } from "./ids.js";
import { LineError } from "./issue.js";
import { checkLabelMap, type LabelMap, mappedLabel, truthLabel } from "./label.js";

type Classification = Extract<HeadSpec, { kind: "classification" }>;
type Fields = Readonly<Record<string, unknown>>;

/** What the lines may have. */
export const LABELLED_FIELDS = ["text", "ids", "label"];
export const SPAN_FIELDS = ["question", "context", "answer", "ids", "start", "end"];

function bad(place: string, what: string): LineError {
  return new LineError("shape", place, what);
}

/**
 * A parser of `{"text" | "ids", "label"}` lines. The label is an index, a name of `id2label` or of the label map, or
 * with two labels a truth value; for several labels at once a list of such, or of 0 and 1 (or truth values) for each;
 * for a regression a number, or one for each output. Throws `ZO2_ERR_DATA` beginning with the place; making it,
 * `ZO2_ERR_CONFIG` for a label map that cannot work.
 */
export function labelledParser(head: Classification, vocabSize?: number, labelMap?: LabelMap): ExampleParser {
  checkLabelMap(labelMap, head.problem === "regression" ? null : head.labels.length, "a regression has values");
  return (record, place) => {
    if (!isRecord(record)) throw bad(place, "not an object");
    const label = record["label"];
    if (label === undefined || label === null) throw bad(place, `has no "label"; a ${head.problem} example needs one`);
    return {
      kind: "labelled",
      place,
      input: inputOf(record, place, vocabSize),
      labels: labelsOf(head, label, place, labelMap),
      problem: head.problem,
    };
  };
}

function inputOf(record: Fields, place: string, vocabSize: number | undefined): string | readonly number[] {
  const { text, ids } = record;
  if (typeof text === "string" && ids === undefined) return text;
  if (text !== undefined || !Array.isArray(ids) || ids.length === 0)
    throw bad(place, 'has neither a "text" nor a list of "ids", or both');
  checkIds(ids, place, vocabSize);
  return ids as number[];
}

function labelsOf(head: Classification, label: unknown, place: string, labelMap: LabelMap | undefined): number[] {
  const { labels, problem } = head;
  const wrong = (what: string): LineError => new LineError("label", place, what);
  switch (problem) {
    case "single_label_classification":
      return [indexOf(labels, label, place, labelMap)];
    case "multi_label_classification": {
      if (!Array.isArray(label)) throw wrong('"label" is not a list');
      if (label.length === labels.length && label.every((flag) => [0, 1, false, true].includes(flag as number)))
        return label.map(Number);
      const set = new Set(label.map((one) => indexOf(labels, one, place, labelMap)));
      return labels.map((_, i) => (set.has(i) ? 1 : 0));
    }
    case "regression": {
      const values: unknown[] = Array.isArray(label) ? label : [label];
      if (values.length !== labels.length)
        throw wrong(`"label" has ${values.length} numbers, the model gives ${labels.length}`);
      return values.map((value) => {
        if (typeof value !== "number" || !Number.isFinite(value))
          throw wrong(`"label" holds ${JSON.stringify(value)}; it must be a finite number`);
        return value;
      });
    }
  }
}

function indexOf(labels: readonly string[], label: unknown, place: string, labelMap: LabelMap | undefined): number {
  if (labelMap !== undefined) return mappedLabel(labelMap, label, labels.length, "label", place);
  const index =
    typeof label === "string" ? labels.indexOf(label) : typeof label === "boolean" ? truthLabel(label, labels) : label;
  if (typeof index === "number" && Number.isInteger(index) && index >= 0 && index < labels.length) return index;
  throw new LineError(
    "label",
    place,
    `label ${JSON.stringify(label)} is none of ` +
      `${labels.map((name, i) => `${i} (${JSON.stringify(name)})`).join(", ")}; other names need option "labelMap"`,
  );
}

/**
 * A parser of question-answering lines: `{"question", "context", "answer": {"text", "start"}}` with the answer's first
 * character in the context, or null where there is none; or `{"ids", "start", "end"}` in tokens, the last one included.
 * Throws `ZO2_ERR_DATA` beginning with the place.
 */
export function spanParser(vocabSize?: number): ExampleParser {
  return (record, place): Example => {
    if (!isRecord(record)) throw bad(place, "not an object");
    if (Array.isArray(record["ids"])) {
      const { ids, start, end } = record;
      checkIds(ids as unknown[], place, vocabSize);
      const length = (ids as unknown[]).length;
      if (!isIndex(start, length) || !isIndex(end, length) || end < start)
        throw bad(place, `"start" and "end" must be tokens of its ${length}, in order`);
      return { kind: "span", place, input: ids as number[], answer: { start, end } };
    }
    const { question, context, answer } = record;
    if (typeof question !== "string" || typeof context !== "string" || context === "")
      throw bad(place, 'needs "question" and "context" as texts, or "ids"');
    if (answer === null) return { kind: "span", place, input: { question, context }, answer: null };
    if (
      !isRecord(answer) ||
      typeof answer["text"] !== "string" ||
      answer["text"] === "" ||
      !isIndex(answer["start"], context.length)
    ) {
      throw bad(place, '"answer" is neither null nor {"text", "start"} with the place of the text in the context');
    }
    const { text, start } = answer as { text: string; start: number };
    if (context.slice(start, start + text.length) !== text)
      throw bad(place, `the answer ${JSON.stringify(text)} does not stand at character ${start} of the context`);
    return { kind: "span", place, input: { question, context }, answer: { start, end: start + text.length } };
  };
}

function isIndex(value: unknown, length: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value < length;
}
