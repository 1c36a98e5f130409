import { exampleParser } from "../../../src/data/examples.js";
import type { LineError } from "../../../src/data/issue.js";
import type { Template } from "../../../src/data/template.js";
import type { HeadSpec } from "../../../src/models/head.js";
import { failure } from "../checkpoint/support.js";

const parse = (record: unknown, options = {}) => exampleParser(options)(record, "t.jsonl:4");
const withTemplate = (record: unknown, template: Template) => parse(record, { template });
const REVIEW: Template = { prompt: "{text} How is it?", choices: [" terrible", " great"] };

describe("an example", () => {
  test("has one of four shapes, by its fields; other fields are ignored", () => {
    const place = "t.jsonl:4";
    expect(parse({ text: "a", source: "x" })).toEqual({ kind: "text", place, text: "a" });
    expect(parse({ ids: [0, 5] })).toEqual({ kind: "ids", place, ids: [0, 5] });
    expect(parse({ prompt: "a", completion: " b" })).toEqual({
      kind: "completion",
      place,
      prompt: "a",
      completion: " b",
    });
    expect(parse({ prompt: "a", choices: [" b", " c"], label: 1 })).toEqual({
      kind: "choices",
      place,
      prompt: "a",
      choices: [" b", " c"],
      label: 1,
    });
  });

  test("takes its label by index, by name, or by name but for the blanks around it", () => {
    const choices = [" great", " bad", "great"];
    expect(parse({ prompt: "a", choices, label: 0 })).toMatchObject({ label: 0 });
    expect(parse({ prompt: "a", choices, label: " bad" })).toMatchObject({ label: 1 });
    expect(parse({ prompt: "a", choices, label: "bad" })).toMatchObject({ label: 1 });
    expect(parse({ prompt: "a", choices, label: "great" })).toMatchObject({ label: 2 });
    expect(() => parse({ prompt: "a", choices, label: "great " })).toThrow(
      failure("ZO2_ERR_DATA", 't.jsonl:4: label "great " names the choices 0 and 2'),
    );
  });

  const refused: [string, unknown, string][] = [
    ["no shape", { body: "a" }, 'has "body", which is none of the shapes {"text"}, {"ids"}'],
    ["nothing", {}, "has no field, which is none"],
    ["a list", [], "not an object"],
    ["two shapes", { text: "a", ids: [1] }, 'has "text", "ids", which is none'],
    ["a label that its shape does not have", { text: "a", label: 1 }, "other fields need a template"],
    ["a text that is a number", { text: 3 }, '"text" is not a text'],
    ["ids that are no list", { ids: "1 2" }, '"ids" is not a list'],
    ["no ids", { ids: [] }, '"ids" is empty'],
    ["an id that is a fraction", { ids: [1, 1.5] }, "ids[1] is 1.5"],
    ["a negative id", { ids: [-1] }, "ids[0] is -1"],
    ["an id that is a string", { ids: ["7"] }, 'ids[0] is "7"'],
    ["an empty completion", { prompt: "a", completion: "" }, "the completion is empty"],
    ["one choice", { prompt: "a", choices: [" b"], label: 0 }, "has 1 choices; at least 2"],
    ["an empty choice", { prompt: "a", choices: [" b", ""], label: 0 }, "choices[1] is empty"],
    ["a choice that is a number", { prompt: "a", choices: [" b", 2], label: 0 }, '"choices[1]" is not a text'],
    ["choices that are no list", { prompt: "a", choices: " b", label: 0 }, '"choices" is not a list'],
    [
      "a label past the choices",
      { prompt: "a", choices: [" b", " c"], label: 2 },
      'label 2 in "label" is out of range; there are choices 0 to 1',
    ],
    ["a negative label", { prompt: "a", choices: [" b", " c"], label: -1 }, "label -1"],
    ["a label between two", { prompt: "a", choices: [" b", " c"], label: 0.5 }, "label 0.5"],
    [
      "a label that names no choice",
      { prompt: "a", choices: [" b", " c"], label: "d" },
      'label "d" in "label" is none of " b", " c"',
    ],
    ["a label that is null", { prompt: "a", choices: [" b", " c"], label: null }, "is neither an index nor one of"],
  ];
  test.each(refused)("with %s is refused with its line", (_, record, message) => {
    expect(() => parse(record)).toThrow(failure("ZO2_ERR_DATA", "t.jsonl:4: ", message));
  });

  test("is refused by the kind of what is wrong with it", () => {
    const kinds = (template: Template | undefined, records: object[]) =>
      records.map((record) => {
        try {
          parse(record, { template });
        } catch (error) {
          return (error as LineError).kind;
        }
        return null;
      });
    const choices = [" b", " c"];
    expect(kinds(undefined, [{ text: 3 }, { ids: [1.5] }, { prompt: "a", choices, label: 2 }])).toEqual([
      ...["shape", "tokens", "label"],
    ]);
    expect(kinds(REVIEW, [{ text: null, label: 0 }, { text: [], label: 0 }, { label: 0 }, { text: "a" }])).toEqual([
      ...["shape", "shape", "shape", "shape"],
    ]);
    expect(
      kinds(REVIEW, [
        { text: "a", label: 2 },
        { text: "a", label: 1 },
      ]),
    ).toEqual(["label", null]);
  });

  test("has ids below the vocabulary's size only", () => {
    expect(parse({ ids: [9] }, { vocabSize: 10 })).toMatchObject({ ids: [9] });
    expect(() => parse({ ids: [10] }, { vocabSize: 10 })).toThrow(
      failure("ZO2_ERR_DATA", "ids[0] is 10; token ids are integers from 0 to 9"),
    );
  });

  test("is refused in a shape that is not of use, and a label does no harm where only texts are", () => {
    const options = { accept: ["text", "ids"] as const };
    expect(parse({ text: "a", label: 1, prompt: "p" }, options)).toMatchObject({ kind: "text" });
    expect(() => parse({ prompt: "a", completion: "b" }, options)).toThrow(
      failure("ZO2_ERR_DATA", 'none of the shapes {"text"}, {"ids"}'),
    );
    expect(() => parse({ text: "a", label: 1 }, { ...options, template: REVIEW })).toThrow(
      failure("ZO2_ERR_DATA", 'is of the shape {"prompt", "choices", "label"}; here'),
    );
  });
});

describe("a template", () => {
  test("makes a prompt with choices of any fields", () => {
    expect(withTemplate({ text: "Fine.", label: 1, source: "yelp" }, REVIEW)).toEqual({
      kind: "choices",
      place: "t.jsonl:4",
      prompt: "Fine. How is it?",
      choices: [" terrible", " great"],
      label: 1,
    });
    expect(withTemplate({ text: "Fine.", label: "great" }, REVIEW)).toMatchObject({ label: 1 });
  });

  test("may take choices from fields, and the label from a field of any name", () => {
    const template = { prompt: "{premise} so", choices: [" {choice1}", " {choice2}"], labelField: "answer" };
    expect(
      withTemplate({ premise: "It rained", choice1: "wet", choice2: "dry", answer: "wet" }, template),
    ).toMatchObject({ prompt: "It rained so", choices: [" wet", " dry"], label: 0 });
  });

  test("makes a prompt with a completion, of numbers and truth values too", () => {
    expect(withTemplate({ a: 2, b: true, sum: "x" }, { prompt: "{a}+{b}=", completion: " {sum}" })).toMatchObject({
      kind: "completion",
      prompt: "2+true=",
      completion: " x",
    });
  });

  test("puts braces in when they are doubled, and does not look for fields in the values", () => {
    expect(withTemplate({ a: "{b}" }, { prompt: '{{"k": {a}}}{{}}', completion: "c" })).toMatchObject({
      prompt: '{"k": {b}}{}',
    });
  });

  test("names the fields that the line has when one is missing", () => {
    expect(() => withTemplate({ txt: "a", label: 0 }, REVIEW)).toThrow(
      failure("ZO2_ERR_DATA", 't.jsonl:4: has no field "text"; it has "txt", "label"'),
    );
    expect(() => withTemplate({ text: "a" }, REVIEW)).toThrow(failure("ZO2_ERR_DATA", 'has no field "label"'));
    expect(() => withTemplate({}, { prompt: "{toString}", completion: "c" })).toThrow(
      failure("ZO2_ERR_DATA", 'has no field "toString"; it has none'),
    );
    expect(() => withTemplate({ text: null, label: 0 }, REVIEW)).toThrow(
      failure("ZO2_ERR_DATA", 'field "text" is null'),
    );
    expect(() => withTemplate({ text: ["a"], label: 0 }, REVIEW)).toThrow(
      failure("ZO2_ERR_DATA", 't.jsonl:4: field "text" is no text, so it cannot stand in a prompt'),
    );
  });

  test.each([
    ["classification", { kind: "classification", labels: ["a", "b"], problem: "single_label_classification" }],
    ["spans", { kind: "spans" }],
  ])("is refused for a model with a %s head, which makes no prompts", (kind, head) => {
    expect(() => exampleParser({ template: REVIEW, head: head as HeadSpec })).toThrow(
      failure("ZO2_ERR_CONFIG", `a template makes prompts for language models; a model with a ${kind} head`),
    );
    expect(() => exampleParser({ template: REVIEW, head: { kind: "causal" } })).not.toThrow();
  });

  test.each([
    ["an open brace", { prompt: "{text", completion: "c" }, "the { at character 1 opens no field name"],
    ["a closing brace alone", { prompt: "a}", completion: "c" }, "the } at character 2 closes nothing"],
    ["no field name", { prompt: "a{}", completion: "c" }, "the { at character 2"],
    ["a brace within a name", { prompt: "{a{b}", completion: "c" }, "the { at character 1"],
    ["neither choices nor completion", { prompt: "a" }, "give either choices or a completion"],
    ["both", { prompt: "a", choices: [" b", " c"], completion: "d" }, "give either choices or a completion"],
    ["one choice", { prompt: "a", choices: [" b"] }, "has 1 choices"],
  ])("with %s is refused before any line is read", (_, template, message) => {
    expect(() => exampleParser({ template })).toThrow(failure("ZO2_ERR_CONFIG", "template ", message));
  });
});
