import { encodeExample } from "../../../src/data/encode.js";
import type { EncodeOptions } from "../../../src/data/encoded.js";
import type { Example } from "../../../src/data/example.js";
import { failure } from "../checkpoint/support.js";
import { spellingTokenizer } from "./support.js";

const codes = (text: string) => [...text].map((c) => c.charCodeAt(0));
const place = "x";
const X = -100;

function encode(example: Example, options: Partial<EncodeOptions> = {}, tokenizer = spellingTokenizer()) {
  const encoded = encodeExample(tokenizer, example, { maxLength: 100, vocabSize: 2000, ...options });
  if (encoded.kind === "tokens") return { ids: [...encoded.ids], labels: [...encoded.labels] };
  if (encoded.kind !== "choices") throw new Error(encoded.kind);
  return encoded.choices.map(({ ids, from }) => ({ ids: [...ids], from }));
}

describe("a counted border", () => {
  const merging = spellingTokenizer(["bc"]);

  test("is behind as many tokens as the prompt alone has, where a shared one is behind those that are the same", () => {
    const example = { kind: "choices", place, prompt: "ab", choices: ["cd", "ef"], label: 0 } as const;
    const ids = [
      [2, 97, 1000, 100],
      [2, ...codes("abef")],
    ];
    expect(encode(example, {}, merging)).toEqual(ids.map((own) => ({ ids: own, from: 2 })));
    expect(encode({ ...example, border: "counted" }, {}, merging)).toEqual(ids.map((own) => ({ ids: own, from: 3 })));
  });

  test("counts without what stands before, and from the end", () => {
    // Before the prompt "b" stands an "a", with which it makes one token; alone it has two with the start token.
    const example = {
      kind: "completion",
      place,
      before: "a",
      prompt: "b",
      completion: "xy",
      border: "counted",
    } as const;
    expect(encode(example, {}, spellingTokenizer(["ab"]))).toEqual({
      ids: [2, 1000, ...codes("xy")],
      labels: [X, X, ...codes("xy")],
    });
  });

  test("is moved by what is cut from the front, and refused where nothing lies behind it", () => {
    const example = {
      kind: "choices",
      place,
      prompt: "abc",
      choices: ["d", "ef"],
      label: 0,
      border: "counted",
    } as const;
    expect(encode(example, { maxLength: 4, truncation: "left" })).toEqual([
      { ids: [2, ...codes("cd")], from: 2 },
      { ids: [2, ...codes("cef")], from: 2 },
    ]);
    expect(() => encode({ ...example, prompt: "b", choices: ["c", "d"] }, {}, merging)).toThrow(
      failure("ZO2_ERR_DATA", 'x: "c" has no token of its own'),
    );
  });
});

test("a start id stands where the tokenizer's start token does, cut or not", () => {
  const startId = 0;
  expect(encode({ kind: "text", place, text: "abc", startId })).toMatchObject({ ids: [0, ...codes("abc")] });
  const completion = { kind: "completion", place, prompt: "abc", completion: "d", startId } as const;
  expect(encode(completion, { maxLength: 3, truncation: "left" })).toEqual({
    ids: [0, ...codes("cd")],
    labels: [X, X, 100],
  });
  expect(encode({ kind: "text", place, text: "abc", startId }, {}, spellingTokenizer([], false))).toMatchObject({
    ids: codes("abc"),
  });
});
