import { encodeExample } from "../../../src/data/encode.js";
import type { EncodeOptions } from "../../../src/data/encoded.js";
import { exampleParser } from "../../../src/data/examples.js";
import { assistantTurns } from "../../../src/data/turns.js";
import type { Tokenizer } from "../../../src/tokenizer/types.js";
import { cleanUp, failure } from "../checkpoint/support.js";
import { fixtureTokenizer } from "../tokenizer/support.js";
import { spellingTokenizer } from "./support.js";

const X = -100;
const codes = (text: string) => [...text].map((c) => c.charCodeAt(0));
const user = (content: string) => ({ role: "user", content });
const assistant = (content: string) => ({ role: "assistant", content });

/** "U" and "A" begin turns, ";" ends them. */
const TEMPLATE =
  "{% for m in messages %}{{ m.role[0]|upper }}{{ m.content }};{% endfor %}{% if add_generation_prompt %}A{% endif %}";

function spelling(chatTemplate = TEMPLATE, merges: string[] = []): Tokenizer {
  return { ...spellingTokenizer(merges), chatTemplate };
}

function encode(tokenizer: Tokenizer | null, messages: unknown, options: Partial<EncodeOptions> = {}) {
  const example = exampleParser()({ messages }, "t.jsonl:4");
  const encoded = encodeExample(tokenizer, example, { maxLength: 500, vocabSize: 200_000, ...options });
  if (encoded.kind !== "tokens") throw new Error("not tokens");
  return { ids: [...encoded.ids], labels: [...encoded.labels] };
}

/** The ids that are scored, in runs. */
function scored({ ids, labels }: { ids: number[]; labels: number[] }): number[][] {
  const runs: number[][] = [];
  for (const [t, label] of labels.entries()) {
    if (label === X) continue;
    expect(label).toBe(ids[t]);
    if (t > 0 && labels[t - 1] !== X) runs.at(-1)?.push(label);
    else runs.push([label]);
  }
  return runs;
}

afterAll(cleanUp);

describe("an encoded conversation", () => {
  test("is scored on the assistant's turns with what ends them, and has no special tokens but the template's", () => {
    expect(encode(spelling(), [user("ab"), assistant("cd"), user("e"), assistant("f")])).toEqual({
      ids: codes("Uab;Acd;Ue;Af;"),
      labels: [X, X, X, X, X, ...codes("cd;"), X, X, X, X, ...codes("f;")],
    });
    expect(scored(encode(spelling(), [user("ab"), assistant("cd"), user("e")]))).toEqual([codes("cd;")]);
  });

  test("scores a token shared with what stands before the turn, and none shared with what follows", () => {
    expect(encode(spelling(TEMPLATE, ["Ac", ";U"]), [user("b"), assistant("cd"), user("e"), assistant("f")])).toEqual({
      ids: [...codes("Ub;"), 1000, 100, 1001, ...codes("e;Af;")],
      labels: [X, X, X, 1000, 100, X, X, X, X, ...codes("f;")],
    });
  });

  test("loses what follows the last scored token, then what stands before the first, and nothing between", () => {
    const messages = [user("abcd"), assistant("xy"), user("tail")];
    const whole = codes("Uabcd;Axy;Utail;");
    expect(() => encode(spelling(), messages, { maxLength: 15 })).toThrow(
      failure("ZO2_ERR_LENGTH", "t.jsonl:4: 16 tokens, and the limit is 15"),
    );
    for (const truncation of ["left", "right"] as const)
      expect(encode(spelling(), messages, { maxLength: 12, truncation }).ids).toEqual(whole.slice(0, 12));
    expect(encode(spelling(), messages, { maxLength: 6, truncation: "left" })).toEqual({
      ids: codes("d;Axy;").slice(0),
      labels: [X, X, X, ...codes("xy;")],
    });
    expect(encode(spelling(), messages, { maxLength: 6, truncation: "right" })).toEqual({
      ids: codes("Uabxy;"),
      labels: [X, X, X, ...codes("xy;")],
    });
    expect(() => encode(spelling(), messages, { maxLength: 3, truncation: "left" })).toThrow(
      failure("ZO2_ERR_LENGTH", "of which 3 begin at the assistant's first turn"),
    );
  });

  test("with SmolLM2's template is scored on each answer and its end token", async () => {
    const tokenizer = await fixtureTokenizer("smollm2");
    const encoded = encode(tokenizer, [user("Hi"), assistant(" Hello you."), user("Bye"), assistant("Bye")]);
    expect(scored(encoded).map((ids) => tokenizer.decode(ids))).toEqual([" Hello you.<|im_end|>\n", "Bye<|im_end|>\n"]);
    expect(tokenizer.decode(encoded.ids)).toBe(
      "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging " +
        "Face<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n" +
        "<|im_start|>assistant\n Hello " +
        "you.<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\nBye<|im_end|>\n",
    );
  });

  test(
    "with Qwen3's template is scored on the answers as they stand there: with the empty thought in the last one " +
      "only",
    async () => {
      const tokenizer = await fixtureTokenizer("qwen3");
      const encoded = encode(tokenizer, [user("Hi"), assistant("Hello."), user("Bye"), assistant("Bye.")]);
      expect(scored(encoded).map((ids) => tokenizer.decode(ids))).toEqual([
        "Hello.<|im_end|>\n",
        "<think>\n\n</think>\n\nBye.<|im_end|>\n",
      ]);
    },
  );
});

describe("a conversation whose turns have no borders", () => {
  const refused: [string, string, string][] = [
    [
      "when a turn before it changes what came before",
      "{{ messages|length }}{% for m in messages %}{{ m.content }};{% endfor %}",
      "writes what comes before this turn differently",
    ],
    [
      "when later turns change it",
      "{% for m in messages %}{{ m.role[0] }}{% if loop.last or m.role == 'user' %}{{ m.content }}{% else " +
        "%}-{% endif %};{% endfor %}",
      "differently once others follow it",
    ],
    [
      "when the template begins the next turn unasked",
      "{% for m in messages %}{{ m.role[0] }}:{{ m.content }};{% endfor %}a:",
      'although "add_generation_prompt" is false',
    ],
  ];
  test.each(refused)("is refused with its place %s", (_, template, message) => {
    const messages = template.endsWith("a:")
      ? [user("a"), assistant("b")]
      : [user("a"), assistant("b"), user("c"), assistant("d")];
    expect(() => encode(spelling(template), messages)).toThrow(
      failure("ZO2_ERR_DATA", "t.jsonl:4: messages[1]: ", message),
    );
  });

  test('is refused with Llama 3\'s old template, which knows no "add_generation_prompt"', async () => {
    const tokenizer = await fixtureTokenizer("llama3");
    expect(() => encode(tokenizer, [user("a"), assistant("b")])).toThrow(
      failure("ZO2_ERR_DATA", "its end cannot be told"),
    );
  });

  test("needs no generation prompt where the template has none", () => {
    const template =
      "{% for m in messages %}{% if m.role == 'user' %}[{{ m.content }}]{% else %} {{ m.content }} !{% endif " +
      "%}{% endfor %}";
    expect(
      assistantTurns(spelling(template), { messages: [user("a"), assistant("b"), user("c"), assistant("d")] }, "p"),
    ).toEqual({
      text: "[a] b ![c] d !",
      turns: [
        { index: 1, begin: 3, end: 7 },
        { index: 3, begin: 10, end: 14 },
      ],
    });
  });

  test("names the example where the template refuses it or there is none", () => {
    expect(() => encode(spelling("{{ raise_exception('no') }}"), [user("a"), assistant("b")])).toThrow(
      failure("ZO2_ERR_TOKENIZER", "t.jsonl:4: spelling: chat template: no"),
    );
    expect(() => encode(spellingTokenizer(), [user("a"), assistant("b")])).toThrow(
      failure("ZO2_ERR_TOKENIZER", "t.jsonl:4: ", "has no chat template"),
    );
    expect(() => encode(null, [user("a"), assistant("b")])).toThrow(
      failure("ZO2_ERR_TOKENIZER", "there is no tokenizer"),
    );
  });
});

describe("the messages of an example", () => {
  const bad: [string, unknown, string][] = [
    ["that are no list", "hi", '"messages" is not a list'],
    ["of which one is a text", [user("a"), "b"], "messages[1]: not an object"],
    ["without a role", [{ content: "a" }], 'messages[0]: "role" is not a text'],
    [
      "with parts for content",
      [{ role: "user", content: [{ type: "text", text: "a" }] }],
      'messages[0]: "content" is not a text',
    ],
    ["without an assistant", [user("a")], 'none of the messages has the role "assistant"'],
    ["that begin with the assistant", [assistant("a")], "messages[0] is the assistant's"],
  ];
  test.each(bad)("%s are refused", (_, messages, message) => {
    expect(() => exampleParser()({ messages }, "t.jsonl:4")).toThrow(failure("ZO2_ERR_DATA", "t.jsonl:4: ", message));
  });

  test("keep fields that templates know, and a turn that only calls tools has no content", () => {
    const call = { role: "assistant", tool_calls: [{ function: { name: "f" } }] };
    expect(exampleParser()({ messages: [{ ...user("a"), name: "n" }, call] }, "p")).toEqual({
      kind: "messages",
      place: "p",
      messages: [
        { ...user("a"), name: "n" },
        { ...call, content: null },
      ],
    });
  });
});
