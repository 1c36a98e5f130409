import { isRecord } from "../base/guards.js";
import { Zo2Error } from "../base/errors.js";
import type { ChatMessage } from "../tokenizer/index.js";
import type { Example, ExampleKind, ExampleOptions, ExampleParser } from "./example.js";
import { checkIds } from "./ids.js";
import { LineError } from "./issue.js";
import { checkLabelMap, type LabelMap, mappedLabel, truthLabel } from "./label.js";
import { LABELLED_FIELDS, labelledParser, SPAN_FIELDS, spanParser } from "./labelled.js";
import { chatMessages, toolsOf } from "./messages.js";
import { promptParser } from "./prompts.js";
import { compileTemplate, fieldOf, type Fill, type Template } from "./template.js";

/** The fields that make each shape. */
const SHAPES: Record<ExampleKind, readonly string[]> = {
  text: ["text"],
  ids: ["ids"],
  completion: ["prompt", "completion"],
  choices: ["prompt", "choices", "label"],
  messages: ["messages"],
};
/** Fields that may stand beside them. */
const BESIDE: { readonly [kind in ExampleKind]?: readonly string[] } = { messages: ["tools"] };
const KINDS = Object.keys(SHAPES) as ExampleKind[];

/**
 * Makes a parser; a template is compiled once. Throws `ZO2_ERR_CONFIG` for a template or a label map that cannot work.
 */
export function exampleParser(options: ExampleOptions = {}): ExampleParser {
  const { head, labelMap } = options;
  if (options.prompts === true) {
    checkLabelMap(labelMap, null, "lines of an objective of your own have no labels but those that it reads itself");
    return promptParser(options);
  }
  if (head !== undefined && head.kind !== "causal") {
    if (options.template !== undefined)
      throw new Zo2Error(
        "ZO2_ERR_CONFIG",
        `a template makes prompts for language models; a model with a ${head.kind} head takes its lines as they are`,
      );
    const spans = head.kind === "spans";
    if (spans) checkLabelMap(labelMap, null, "lines with answers have no labels");
    const parse = spans ? spanParser(options.vocabSize) : labelledParser(head, options.vocabSize, labelMap);
    const known = spans ? SPAN_FIELDS : LABELLED_FIELDS;
    return (record, place) => {
      const example = parse(record, place);
      if (isRecord(record)) options.unknown?.note(record, known, place);
      return example;
    };
  }
  const fill = options.template === undefined ? undefined : templateParser(options.template, labelMap);
  const accept = options.accept ?? KINDS;
  return (record, place) => {
    if (!isRecord(record)) throw bad(place, "not an object");
    const example = fill === undefined ? parseShape(record, place, accept, options) : fill(record, place);
    const kind = KINDS.find((known) => known === example.kind);
    if (kind === undefined || !accept.includes(kind)) {
      throw bad(
        place,
        `is of the shape ${kind === undefined ? example.kind : shapeText(kind)}; here ` +
          `${accept.map(shapeText).join(" or ")} is needed`,
      );
    }
    if (fill === undefined) options.unknown?.note(record, [...SHAPES[kind], ...(BESIDE[kind] ?? [])], place);
    return example;
  };
}

function bad(place: string, what: string): LineError {
  return new LineError("shape", place, what);
}

function shapeText(kind: ExampleKind): string {
  return `{${SHAPES[kind].map((field) => JSON.stringify(field)).join(", ")}}`;
}

/**
 * Finds the one shape that the record's fields make. Fields of no shape are ignored; those of another shape are a
 * mistake worth naming.
 */
function parseShape(
  record: Record<string, unknown>,
  place: string,
  accept: readonly ExampleKind[],
  { vocabSize, labelMap }: ExampleOptions,
): Example {
  const known = new Set(accept.flatMap((kind) => SHAPES[kind]));
  const present = [...known].filter((field) => Object.hasOwn(record, field));
  const kind = accept.find(
    (candidate) =>
      SHAPES[candidate].length === present.length && SHAPES[candidate].every((field) => present.includes(field)),
  );
  if (kind === undefined) {
    const has =
      Object.keys(record)
        .map((field) => JSON.stringify(field))
        .join(", ") || "no field";
    throw bad(
      place,
      `has ${has}, which is none of the shapes ${accept.map(shapeText).join(", ")}; other fields need a ` +
        'template (options "template.prompt" and "template.choices")',
    );
  }
  switch (kind) {
    case "text":
      return { kind, place, text: textOf(record["text"], "text", place) };
    case "ids":
      return { kind, place, ids: idsOf(record["ids"], place, vocabSize) };
    case "completion":
      return completionOf(
        place,
        textOf(record["prompt"], "prompt", place),
        textOf(record["completion"], "completion", place),
      );
    case "choices": {
      const choices = record["choices"];
      if (!Array.isArray(choices)) throw bad(place, '"choices" is not a list of texts');
      const texts = choices.map((choice, i) => textOf(choice, `choices[${i}]`, place));
      return choicesOf(place, textOf(record["prompt"], "prompt", place), texts, "label", record["label"], labelMap);
    }
    case "messages":
      return { kind, place, messages: messagesOf(record["messages"], place), ...toolsOf(record["tools"], place) };
  }
}

function templateParser(
  template: Template,
  labelMap: LabelMap | undefined,
): (record: Record<string, unknown>, place: string) => Example {
  const { completion, choices, labelField = "label" } = template;
  if ((completion === undefined) === (choices === undefined)) {
    throw new Zo2Error(
      "ZO2_ERR_CONFIG",
      `template ${JSON.stringify(template.prompt)}: give either choices or a completion with the prompt`,
    );
  }
  const prompt = compileTemplate(template.prompt);
  if (completion !== undefined) {
    checkLabelMap(labelMap, null, "a completion has no label");
    const end = compileTemplate(completion);
    return (record, place) => completionOf(place, prompt(record, place), end(record, place));
  }
  const fills: Fill[] = (choices ?? []).map(compileTemplate);
  if (fills.length < 2)
    throw new Zo2Error(
      "ZO2_ERR_CONFIG",
      `template ${JSON.stringify(template.prompt)}: has ${fills.length} choices; at least 2 are needed`,
    );
  checkLabelMap(labelMap, fills.length);
  return (record, place) => {
    const texts = fills.map((fill) => fill(record, place));
    return choicesOf(place, prompt(record, place), texts, labelField, fieldOf(record, labelField, place), labelMap);
  };
}

function textOf(value: unknown, field: string, place: string): string {
  if (typeof value !== "string") throw bad(place, `"${field}" is not a text`);
  return value;
}

function idsOf(value: unknown, place: string, vocabSize: number | undefined): number[] {
  if (!Array.isArray(value)) throw bad(place, '"ids" is not a list of integers');
  if (value.length === 0) throw bad(place, '"ids" is empty');
  checkIds(value, place, vocabSize);
  return value as number[];
}

function messagesOf(value: unknown, place: string): ChatMessage[] {
  const messages = chatMessages(value, place);
  const first = messages.findIndex(({ role }) => role === "assistant");
  if (first < 0) throw bad(place, 'none of the messages has the role "assistant", so there is nothing to learn');
  if (first === 0)
    throw bad(place, "messages[0] is the assistant's; something must stand before it from which it is predicted");
  return messages;
}

function completionOf(place: string, prompt: string, completion: string): Example {
  if (completion === "") throw bad(place, "the completion is empty, so there is nothing to learn");
  return { kind: "completion", place, prompt, completion };
}

function choicesOf(
  place: string,
  prompt: string,
  choices: readonly string[],
  field: string,
  label: unknown,
  labelMap: LabelMap | undefined,
): Example {
  if (choices.length < 2) throw bad(place, `has ${choices.length} choices; at least 2 are needed`);
  const empty = choices.indexOf("");
  if (empty >= 0) throw bad(place, `choices[${empty}] is empty, so it has no likelihood`);
  const index =
    labelMap === undefined
      ? labelOf(place, choices, field, label)
      : mappedLabel(labelMap, label, choices.length, field, place);
  return { kind: "choices", place, prompt, choices, label: index };
}

function labelOf(place: string, choices: readonly string[], field: string, label: unknown): number {
  const wrong = (what: string): LineError => new LineError("label", place, what);
  if (typeof label === "number") {
    if (Number.isInteger(label) && label >= 0 && label < choices.length) return label;
    throw wrong(
      `label ${label} in ${JSON.stringify(field)} is out of range; there are choices 0 to ${choices.length - 1}`,
    );
  }
  const named = choices.map((choice) => JSON.stringify(choice)).join(", ");
  if (typeof label === "boolean") {
    const index = truthLabel(label, choices);
    if (index !== undefined) return index;
    throw wrong(
      `label ${label} in ${JSON.stringify(field)} does not say which of ${named} is meant; ` +
        'say so with option "labelMap"',
    );
  }
  if (typeof label !== "string")
    throw wrong(`the label in ${JSON.stringify(field)} is neither an index nor one of ${named}`);
  for (const same of [(choice: string) => choice === label, (choice: string) => choice.trim() === label.trim()]) {
    const matches = choices.flatMap((choice, i) => (same(choice) ? [i] : []));
    if (matches.length > 1)
      throw wrong(`label ${JSON.stringify(label)} names the choices ${matches.join(" and ")}; give its index`);
    if (matches[0] !== undefined) return matches[0];
  }
  throw wrong(
    `label ${JSON.stringify(label)} in ${JSON.stringify(field)} is none of ${named}; ` +
      'other names need option "labelMap"',
  );
}
