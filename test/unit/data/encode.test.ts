import { join } from "node:path";
import { encodeExample } from "../../../src/data/encode.js";
import type { EncodeOptions } from "../../../src/data/encoded.js";
import { exampleParser } from "../../../src/data/examples.js";
import { loadTokenizer } from "../../../src/tokenizer/tokenizer.js";
import type { Tokenizer } from "../../../src/tokenizer/types.js";
import { failure } from "../checkpoint/support.js";
import { spellingTokenizer } from "./support.js";

const parse = (record: unknown) => exampleParser()(record, "t.jsonl:4");
const codes = (text: string) => [...text].map((c) => c.charCodeAt(0));
const X = -100;

function encode(
  record: unknown,
  options: Partial<EncodeOptions> = {},
  tokenizer: Tokenizer | null = spellingTokenizer(),
) {
  const encoded = encodeExample(tokenizer, parse(record), { maxLength: 100, vocabSize: 2000, ...options });
  if (encoded.kind === "tokens") return { ids: [...encoded.ids], labels: [...encoded.labels] };
  if (encoded.kind !== "choices") throw new Error(`${encoded.kind} is no example of a language model`);
  return {
    choices: encoded.choices.map(({ ids }) => [...ids]),
    from: encoded.choices.map(({ from }) => from),
    label: encoded.label,
  };
}

describe("an encoded text", () => {
  test("has the special tokens, and every token but the first is scored", () => {
    expect(encode({ text: "abc" })).toEqual({ ids: [2, ...codes("abc")], labels: [X, ...codes("abc")] });
    expect(encode({ ids: [7, 8, 9] })).toEqual({ ids: [7, 8, 9], labels: [X, 8, 9] });
    expect(encode({ ids: [7, 8, 9] }, {}, null)).toEqual({ ids: [7, 8, 9], labels: [X, 8, 9] });
  });

  test("past the limit is refused, or loses its end, or its front but for the bos token", () => {
    expect(() => encode({ text: "abcdef" }, { maxLength: 6 })).toThrow(
      failure("ZO2_ERR_LENGTH", "t.jsonl:4: 7 tokens, and the limit is 6", "maxLength", "truncation"),
    );
    expect(encode({ text: "abcdef" }, { maxLength: 4, truncation: "right" })).toEqual({
      ids: [2, ...codes("abc")],
      labels: [X, ...codes("abc")],
    });
    expect(encode({ text: "abcdef" }, { maxLength: 4, truncation: "left" })).toEqual({
      ids: [2, ...codes("def")],
      labels: [X, ...codes("def")],
    });
    expect(encode({ text: "abcdef" }, { maxLength: 4, truncation: "left" }, spellingTokenizer([], false))).toEqual({
      ids: codes("cdef"),
      labels: [X, ...codes("def")],
    });
    expect(encode({ text: "abc" }, { maxLength: 4 })).toEqual({
      ids: [2, ...codes("abc")],
      labels: [X, ...codes("abc")],
    });
  });

  test("with nothing to score is refused, unless that is allowed", () => {
    for (const record of [{ text: "" }, { ids: [5] }])
      expect(() => encode(record)).toThrow(failure("ZO2_ERR_DATA", "t.jsonl:4: no labelled token"));
    expect(() => encode({ text: "abc" }, { maxLength: 1, truncation: "left" })).toThrow(
      failure("ZO2_ERR_DATA", "no labelled token"),
    );
    expect(encode({ ids: [5] }, { allowUnlabelled: true })).toEqual({ ids: [5], labels: [X] });
    expect(encode({ text: "" }, { allowUnlabelled: true }, spellingTokenizer([], false))).toEqual({
      ids: [],
      labels: [],
    });
  });

  test("must be of the model's vocabulary, and needs a tokenizer unless it is ids", () => {
    expect(() => encode({ ids: [5, 2000] })).toThrow(failure("ZO2_ERR_DATA", "t.jsonl:4: ids[1] is 2000"));
    expect(() => encode({ text: "az" }, { vocabSize: 122 })).toThrow(
      failure("ZO2_ERR_TOKENIZER", "gives id 122, the model knows 0 to 121"),
    );
    expect(() => encode({ text: "a" }, {}, null)).toThrow(failure("ZO2_ERR_TOKENIZER", "there is no tokenizer"));
    for (const maxLength of [0, 1.5, Number.NaN])
      expect(() => encode({ text: "a" }, { maxLength })).toThrow(failure("ZO2_ERR_CONFIG", "maxLength"));
  });
});

describe("an encoded prompt with its completion", () => {
  test("is scored on the completion only", () => {
    expect(encode({ prompt: "ab", completion: "cd" })).toEqual({
      ids: [2, ...codes("abcd")],
      labels: [X, X, X, ...codes("cd")],
    });
  });

  test("is tokenised together: a token across the border is scored", () => {
    expect(encode({ prompt: "ab", completion: "cd" }, {}, spellingTokenizer(["bc"]))).toEqual({
      ids: [2, 97, 1000, 100],
      labels: [X, X, 1000, 100],
    });
  });

  test("loses prompt tokens only, from the side that was asked for", () => {
    const record = { prompt: "abcdef", completion: "yz" };
    expect(encode(record, { maxLength: 5, truncation: "left" })).toEqual({
      ids: [2, ...codes("efyz")],
      labels: [X, X, X, ...codes("yz")],
    });
    expect(encode(record, { maxLength: 5, truncation: "right" })).toEqual({
      ids: [2, ...codes("abyz")],
      labels: [X, X, X, ...codes("yz")],
    });
    expect(encode(record, { maxLength: 3, truncation: "left" })).toEqual({
      ids: [2, ...codes("yz")],
      labels: [X, ...codes("yz")],
    });
    for (const truncation of ["left", "right"] as const) {
      expect(() => encode(record, { maxLength: 2, truncation })).toThrow(
        failure("ZO2_ERR_LENGTH", "9 tokens, and the limit is 2, of which 2 follow the prompt"),
      );
    }
    expect(() => encode(record, { maxLength: 8 })).toThrow(failure("ZO2_ERR_LENGTH", "9 tokens, and the limit is 8"));
  });

  test("needs something in front from which it is predicted", () => {
    expect(encode({ prompt: "", completion: "ab" })).toEqual({ ids: [2, 97, 98], labels: [X, 97, 98] });
    expect(() => encode({ prompt: "", completion: "ab" }, {}, spellingTokenizer([], false))).toThrow(
      failure("ZO2_ERR_DATA", "the prompt must not be empty"),
    );
  });
});

describe("an encoded example with choices", () => {
  test("is scored on each choice's tokens given the prompt, also where choices begin alike", () => {
    expect(encode({ prompt: "ab", choices: [" not", " nil"], label: 1 })).toEqual({
      choices: [
        [2, ...codes("ab not")],
        [2, ...codes("ab nil")],
      ],
      from: [3, 3],
      label: 1,
    });
  });

  test("scores from the same token in every choice when one of them merges with the prompt", () => {
    expect(encode({ prompt: "ab", choices: ["cd", "xd"], label: 0 }, {}, spellingTokenizer(["bc"]))).toEqual({
      choices: [
        [2, 97, 1000, 100],
        [2, ...codes("abxd")],
      ],
      from: [2, 2],
      label: 0,
    });
  });

  test("is cut so that all choices keep the same prompt and lose none of their own tokens", () => {
    const record = { prompt: "abcdef", choices: ["x", "yyy"], label: 0 };
    expect(encode(record, { maxLength: 6, truncation: "left" })).toEqual({
      choices: [
        [2, ...codes("efx")],
        [2, ...codes("efyyy")],
      ],
      from: [3, 3],
      label: 0,
    });
    expect(encode(record, { maxLength: 6, truncation: "right" })).toEqual({
      choices: [
        [2, ...codes("abx")],
        [2, ...codes("abyyy")],
      ],
      from: [3, 3],
      label: 0,
    });
    expect(() => encode(record, { maxLength: 3, truncation: "left" })).toThrow(
      failure("ZO2_ERR_LENGTH", "10 tokens", "3 follow the prompt"),
    );
  });

  test("with tiny-opt's tokenizer scores one token for each verdict", async () => {
    const tokenizer = await loadTokenizer(join(__dirname, "../../../docs/demo/tiny-opt"));
    const prompt = "Soggy and not good. How is it?";
    const encoded = encodeExample(tokenizer, parse({ prompt, choices: [" terrible", " great"], label: "terrible" }), {
      maxLength: 512,
      vocabSize: 4096,
    });
    if (encoded.kind !== "choices") throw new Error("not choices");
    // 2090 and 635 are " terrible" and " great" in the fixture made with transformers.
    expect(encoded.choices.map(({ ids, from }) => [...ids.subarray(from)])).toEqual([[2090], [635]]);
    for (const { ids, from } of encoded.choices) expect([...ids.subarray(0, from)]).toEqual(tokenizer.encode(prompt));
  });
});
