/** Texts to classify, and answers in a context, in tokens that can be worked out by hand. */
import { encodeExample } from "../../../src/data/encode.js";
import type { EncodeOptions } from "../../../src/data/encoded.js";
import { exampleParser } from "../../../src/data/examples.js";
import type { HeadSpec } from "../../../src/models/head.js";
import type { Tokenizer } from "../../../src/tokenizer/types.js";
import { failure } from "../checkpoint/support.js";
import { spellingTokenizer } from "./support.js";

const LABELS: HeadSpec = {
  kind: "classification",
  labels: ["bad", "good"],
  problem: "single_label_classification",
} as unknown as HeadSpec;
const SPANS = { kind: "spans" } as unknown as HeadSpec;
const codes = (text: string) => [...text].map((c) => c.charCodeAt(0));

function encode(head: HeadSpec, record: unknown, tokenizer: Tokenizer, options: Partial<EncodeOptions> = {}) {
  const example = exampleParser({ head })(record, "t.jsonl:4");
  return encodeExample(tokenizer, example, { maxLength: 100, vocabSize: 2000, ...options });
}

describe("a text to classify past the limit", () => {
  const text = { text: "abcdef", label: "good" };
  const ids = (record: unknown, tokenizer: Tokenizer, options: Partial<EncodeOptions>) => {
    const encoded = encode(LABELS, record, tokenizer, options);
    if (encoded.kind !== "labelled") throw new Error(encoded.kind);
    expect(encoded.labels).toEqual([1]);
    return [...encoded.ids];
  };

  it.each<["left" | "right", number, boolean, number[]]>([
    ["right", 4, true, [2, ...codes("abc")]],
    ["left", 4, true, [2, ...codes("def")]],
    ["right", 4, false, codes("abcd")],
    ["left", 4, false, codes("cdef")],
    ["right", 1, true, [2]],
    ["left", 1, true, codes("f")],
    ["left", 7, true, [2, ...codes("abcdef")]],
    ["right", 6, true, [2, ...codes("abcde")]],
    ["left", 6, true, [2, ...codes("bcdef")]],
  ])("loses tokens on the %s (limit %d, bos: %p)", (truncation, maxLength, bos, want) => {
    expect(ids(text, spellingTokenizer([], bos), { truncation, maxLength })).toEqual(want);
  });

  it("is refused where nothing may be cut, by its length and the limit; at the limit it passes", () => {
    const tokenizer = spellingTokenizer();
    for (const options of [{}, { truncation: "error" as const }])
      expect(() => ids(text, tokenizer, { maxLength: 6, ...options })).toThrow(
        failure("ZO2_ERR_LENGTH", "t.jsonl:4: 7 tokens, and the limit is 6"),
      );
    expect(ids(text, tokenizer, { maxLength: 7 })).toEqual([2, ...codes("abcdef")]);
  });

  it("that is ids has no token to keep: what is given is all text", () => {
    const record = { ids: [2, 5, 6, 7], label: 1 };
    expect(ids(record, spellingTokenizer(), { truncation: "left", maxLength: 3 })).toEqual([5, 6, 7]);
    expect(ids(record, spellingTokenizer(), { truncation: "right", maxLength: 3 })).toEqual([2, 5, 6]);
  });
});

describe("the answer in a context", () => {
  const question = "who";
  const context = "by an elf.";
  /** Without merges, tokens are characters behind the bos token, the question and a line break. */
  const first = 1 + question.length + 1;
  const answered = (text: string, merges: string[], o: { start?: number; bos?: boolean } = {}) => {
    const start = o.start ?? context.indexOf(text);
    const record = { question, context, answer: { text, start } };
    const encoded = encode(SPANS, record, spellingTokenizer(merges, o.bos ?? true));
    if (encoded.kind !== "span") throw new Error(encoded.kind);
    return { ids: [...encoded.ids], span: [encoded.start, encoded.end] };
  };

  it.each<[string, number, number]>([
    ["elf", 6, 8],
    ["by", 0, 1],
    ["e", 6, 6],
    [".", 9, 9],
    [context, 0, 9],
  ])("%j is the tokens of its first and last character", (text, start, end) => {
    expect(answered(text, [])).toEqual({
      ids: [2, ...codes(`${question}\n${context}`)],
      span: [first + start, first + end],
    });
    expect(answered(text, [], { bos: false }).span).toEqual([first - 1 + start, first - 1 + end]);
  });

  it.each<[string, string[], number, number]>([
    // Where its last character is one token with what follows, that token is its end.
    ["elf", ["f."], 6, 8],
    // The same where its first character is one with what stands before.
    ["elf", [" e"], 5, 7],
    ["elf", [" e", "f."], 5, 7],
    // A merge inside of it, and one of it whole.
    ["elf", ["el"], 6, 7],
    ["el", ["el"], 6, 6],
    // One character, in the middle of a token on either side.
    ["e", [" e"], 5, 5],
    ["e", ["el"], 6, 6],
    // The question's line break is one with the context's first character.
    ["by", ["\nb"], -1, 0],
    // Merges before it count once.
    ["elf", ["by", "an"], 4, 6],
  ])("%j with the merges %j", (text, merges, start, end) => {
    const { ids, span } = answered(text, merges);
    expect(span).toEqual([first + start, first + end]);
    expect(ids).toEqual(spellingTokenizer(merges).encode(`${question}\n${context}`));
  });

  it("is the place that the line names, of several with that text", () => {
    const twice = { question: "q", context: "aba", answer: { text: "a", start: 2 } };
    expect(encode(SPANS, twice, spellingTokenizer())).toMatchObject({ start: 5, end: 5 });
    expect(encode(SPANS, { ...twice, answer: { text: "a", start: 0 } }, spellingTokenizer())).toMatchObject({
      start: 3,
      end: 3,
    });
  });

  it.each<[string, unknown]>([
    ["a place before the beginning", { text: "by", start: -10 }],
    ["a place that is counted from the end", { text: "elf", start: -4 }],
    ["a place between two characters", { text: "y", start: 1.5 }],
    ["a place that is a text", { text: "by", start: "0" }],
    ["a place behind the end", { text: ".", start: 10 }],
    ["no place", { text: "by" }],
    ["no text", { text: "", start: 0 }],
    ["a list for its text", { text: ["by"], start: 0 }],
    ["a list for itself", ["by", 0]],
    ["a text for itself", "by"],
    ["nothing for itself", undefined],
  ])("with %s is refused", (_, answer) => {
    expect(() => encode(SPANS, { question, context, answer }, spellingTokenizer())).toThrow(
      failure("ZO2_ERR_DATA", 't.jsonl:4: "answer" is neither null nor {"text", "start"}'),
    );
  });

  it("that stands elsewhere is refused by its place", () => {
    const record = { question, context, answer: { text: "elf", start: 5 } };
    expect(() => encode(SPANS, record, spellingTokenizer())).toThrow(
      failure("ZO2_ERR_DATA", 'the answer "elf" does not stand at character 5 of the context'),
    );
  });

  it.each([
    [-1, 1],
    [0, 3],
    [3, 3],
    [2, 1],
    [0.5, 1],
    [0, 1.5],
    ["0", 1],
    [undefined, 1],
  ])("from token %p to %p of three is refused", (start, end) => {
    expect(() => encode(SPANS, { ids: [4, 5, 6], start, end }, spellingTokenizer())).toThrow(
      failure("ZO2_ERR_DATA", '"start" and "end" must be tokens of its 3, in order'),
    );
  });

  it("is none where there is none, and the sequence is never cut", () => {
    const none = { question, context, answer: null };
    expect(encode(SPANS, none, spellingTokenizer())).toMatchObject({ start: -100, end: -100 });
    const length = first + context.length;
    for (const truncation of ["left", "right", "error"] as const) {
      expect(() => encode(SPANS, none, spellingTokenizer(), { truncation, maxLength: length - 1 })).toThrow(
        failure("ZO2_ERR_LENGTH", `${length} tokens, and the limit is ${length - 1}`),
      );
      expect(encode(SPANS, none, spellingTokenizer(), { truncation, maxLength: length }).kind).toBe("span");
    }
    const ids = { ids: [4, 5, 6], start: 1, end: 2 };
    expect(encode(SPANS, ids, spellingTokenizer())).toMatchObject({ start: 1, end: 2 });
    expect(() => encode(SPANS, ids, spellingTokenizer(), { maxLength: 2 })).toThrow(
      failure("ZO2_ERR_LENGTH", "3 tokens, and the limit is 2"),
    );
  });
});
