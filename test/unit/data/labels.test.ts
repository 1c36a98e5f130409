import { exampleParser } from "../../../src/data/examples.js";
import type { ExampleOptions } from "../../../src/data/example.js";
import { failure } from "../checkpoint/support.js";

const parse = (record: unknown, options: ExampleOptions = {}) => exampleParser(options)(record, "t.jsonl:4");
const labelled = (choices: readonly string[], label: unknown) => parse({ prompt: "a", choices, label });

describe("a truth value as the label", () => {
  test.each([
    [[" bad", " good"], false, 0],
    [[" bad", " good"], true, 1],
    [[" No", " Yes"], true, 1],
    [[" No", " Yes"], false, 0],
    [[" Yes", " No"], true, 0],
    [[" Yes", " No"], false, 1],
    [["true", "false"], true, 0],
    [["TRUE ", " False"], false, 1],
    [[" yes", " certainly not"], true, 0],
    [[" yes", " certainly not"], false, 1],
    [[" no", " it does"], true, 1],
    [[" it does", " no"], true, 0],
    [[" it does", " no"], false, 1],
    // Only whole words say so.
    [[" yesterday", " nowhere"], true, 1],
  ])("of %j: %s is the choice %d", (choices, label, index) => {
    expect(labelled(choices, label)).toMatchObject({ label: index });
  });

  test.each([[[" yes", " true"]], [[" No", "no"]], [[" a", " b", " c"]], [[" yes", " no", " maybe"]]])(
    "says nothing of %j, and is refused with its line and the way out",
    (choices) => {
      for (const label of [true, false])
        expect(() => labelled(choices, label)).toThrow(
          failure("ZO2_ERR_DATA", `t.jsonl:4: label ${label} in "label" does not say which of`, 'option "labelMap"'),
        );
    },
  );

  test("chooses between a classifier's two labels, and stands for flags of several", () => {
    const head = (labels: string[], problem: "single_label_classification" | "multi_label_classification") =>
      ({ kind: "classification", labels, problem }) as const;
    const of = (labels: string[], label: unknown, several = false) =>
      parse(
        { text: "a", label },
        { head: head(labels, several ? "multi_label_classification" : "single_label_classification") },
      );
    expect(of(["LABEL_0", "LABEL_1"], true)).toMatchObject({ labels: [1] });
    expect(of(["yes", "no"], true)).toMatchObject({ labels: [0] });
    expect(of(["a", "b", "c"], [true, false, true], true)).toMatchObject({ labels: [1, 0, 1] });
    expect(() => of(["a", "b", "c"], true)).toThrow(failure("ZO2_ERR_DATA", "label true is none of 0"));
  });
});

describe("a label map", () => {
  const labelMap = { entailment: 0, neutral: 1, contradiction: 2, "-1": 0, "3": 2, true: 1, "": 2 };
  const choices = [" yes", " maybe", " no"];
  const mapped = (label: unknown, options: ExampleOptions = {}) =>
    parse({ prompt: "a", choices, label }, { labelMap, ...options });

  test.each([
    ["entailment", 0],
    ["neutral", 1],
    ["contradiction", 2],
    [-1, 0],
    [3, 2],
    ["3", 2],
    [true, 1],
    ["true", 1],
    ["", 2],
    [-1.0, 0],
  ])("maps %j to %d", (label, index) => {
    expect(mapped(label)).toMatchObject({ label: index });
  });

  test.each([[0], [" yes"], ["Entailment"], [false], [null], [[]], [{}], ["toString"], [1e9], ["entailment "]])(
    "decides alone: %j is refused",
    (label) => {
      expect(() => mapped(label)).toThrow(
        failure("ZO2_ERR_DATA", "t.jsonl:4: label ", 'none of option "labelMap", which has "-1" (0)'.slice(0, 30)),
      );
    },
  );

  test("that leads past the choices is refused: of a template at once, of other lines by the line", () => {
    const two = { prompt: "a", choices: [" yes", " no"], label: "contradiction" };
    expect(() => parse(two, { labelMap })).toThrow(failure("ZO2_ERR_DATA", "mapped to 2; there are choices 0 to 1"));
    const template = { prompt: "{text}", choices: [" yes", " no"] };
    expect(() => exampleParser({ template, labelMap })).toThrow(
      failure("ZO2_ERR_CONFIG", 'option "labelMap" maps', "to 2; there are choices 0 to 1"),
    );
    const head = { kind: "classification", labels: ["a", "b"], problem: "single_label_classification" } as const;
    expect(() => exampleParser({ head, labelMap })).toThrow(failure("ZO2_ERR_CONFIG", "choices 0 to 1"));
  });

  test("serves templates with a field of their own, and classifiers", () => {
    const template = { prompt: "{text}", choices, labelField: "gold" };
    expect(parse({ text: "a", gold: "neutral" }, { template, labelMap })).toMatchObject({ label: 1 });
    const problem = "single_label_classification" as const;
    const head = { kind: "classification", labels: ["x", "y", "z"], problem } as const;
    expect(parse({ text: "a", label: "neutral" }, { head, labelMap })).toMatchObject({ labels: [1] });
    const several = { ...head, problem: "multi_label_classification" as const };
    expect(parse({ text: "a", label: ["neutral", -1] }, { head: several, labelMap })).toMatchObject({
      labels: [1, 1, 0],
    });
  });

  test.each([
    ["completions", { template: { prompt: "{text}", completion: "{text}" } }],
    ["an objective's prompts", { prompts: true }],
    ["answers", { head: { kind: "spans" } }],
    ["a regression", { head: { kind: "classification", labels: ["x", "y", "z"], problem: "regression" } }],
  ] as [string, ExampleOptions][])("is refused where it has no effect: %s", (_, options) => {
    expect(() => exampleParser({ ...options, labelMap })).toThrow(
      failure("ZO2_ERR_CONFIG", 'option "labelMap" has no effect'),
    );
  });
});
