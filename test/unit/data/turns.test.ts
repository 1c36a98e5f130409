import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { runInSlices } from "../../../src/base/steps.js";
import { encodeExample, encodeExampleInSlices } from "../../../src/data/encode.js";
import { openDataset } from "../../../src/data/dataset.js";
import { exampleParser } from "../../../src/data/examples.js";
import { tokenizeSections } from "../../../src/data/token-sections.js";
import { commonPrefix } from "../../../src/data/tokens.js";
import { borderOf, TurnError } from "../../../src/data/turn-border.js";
import { assistantTurns, type Conversation } from "../../../src/data/turns.js";
import { renderChat } from "../../../src/tokenizer/chat.js";
import type { ChatMessage, Tokenizer } from "../../../src/tokenizer/types.js";
import { cleanUp } from "../checkpoint/support.js";
import { fixtureTokenizer } from "../tokenizer/support.js";
import { spellingTokenizer } from "./support.js";

const FIXTURES = join(__dirname, "../../fixtures/chat-templates");
const user = (content: string) => ({ role: "user", content });
const assistant = (content: string) => ({ role: "assistant", content });

afterAll(cleanUp);

function withTemplate(chatTemplate: string): Tokenizer {
  return { ...spellingTokenizer(), chatTemplate, specialTokens: { bos_token: "<s>", eos_token: "</s>" } };
}

const familyOf = (name: string) => withTemplate(readFileSync(join(FIXTURES, "families", `${name}.jinja`), "utf8"));

function learned(tokenizer: Tokenizer, conversation: Conversation): string[] {
  const { text, turns } = assistantTurns(tokenizer, conversation, "p");
  return turns.map(({ begin, end }) => text.slice(begin, end));
}

const { conversations } = JSON.parse(readFileSync(join(FIXTURES, "conversations.json"), "utf8")) as {
  conversations: { messages: ChatMessage[]; tools?: unknown[] }[];
};

/** Conversations as lines have them: something stands before the assistant's first turn. */
const LINES = conversations
  .filter(({ messages }) => messages.findIndex(({ role }) => role === "assistant") > 0)
  .slice(0, 120);

describe("the turns of a conversation", () => {
  test.each(readdirSync(join(FIXTURES, "families")).map((file) => file.replace(".jinja", "")))(
    "with the template of %s have the borders that each turn has by itself",
    (family) => {
      const tokenizer = familyOf(family);
      for (const { messages, tools } of LINES) {
        const options = tools === undefined ? {} : { tools };
        const render = (count: number, addGenerationPrompt: boolean) =>
          renderChat(tokenizer, messages.slice(0, count), { ...options, addGenerationPrompt });
        let expected: { index: number; begin: number; end: number }[];
        try {
          const text = render(messages.length, false);
          expected = messages.flatMap(({ role }, index) =>
            role === "assistant" ? [{ index, ...borderOf(text, messages, index, render) }] : [],
          );
        } catch {
          continue;
        }
        if (tokenizer.chatTemplate?.toString().includes("endgeneration")) continue;
        expect(assistantTurns(tokenizer, { messages, tools }, "p").turns).toEqual(expected);
      }
    },
  );

  test("are learned without the block of thoughts that the generation prompt opens", () => {
    const dir = join(FIXTURES, "cases/reasoning-turns");
    const {
      messages,
      text,
      learned: wanted,
    } = JSON.parse(readFileSync(join(dir, "expected.json"), "utf8")) as {
      messages: ChatMessage[];
      text: string;
      learned: string[];
    };
    const tokenizer = withTemplate(readFileSync(join(dir, "chat_template.jinja"), "utf8"));
    expect(assistantTurns(tokenizer, { messages }, "p").text).toBe(text);
    expect(learned(tokenizer, { messages })).toEqual(wanted);
  });

  const thinking = [user("a"), assistant("<think>\nwhy\n</think>\n\nb"), user("c"), assistant("d")];
  const reasoning: [string, ChatMessage[], string[]][] = [
    ["deepseek-r1", thinking, ["\n\nb<｜end▁of▁sentence｜>", "d<｜end▁of▁sentence｜>"]],
    [
      "deepseek-r1",
      [user("a"), assistant("<b>"), user("c"), assistant("<think")],
      ["<b><｜end▁of▁sentence｜>", "<think<｜end▁of▁sentence｜>"],
    ],
    ["deepseek-r1", [user("a"), assistant("")], ["<｜end▁of▁sentence｜>"]],
    ["deepseek-r1", [user("a"), assistant("x"), user("b")], ["x<｜end▁of▁sentence｜>"]],
    ["deepseek-r1", [{ role: "system", content: "s" }, user("a"), assistant("x")], ["x<｜end▁of▁sentence｜>"]],
    ["qwen3", thinking, ["b<|im_end|>\n", "<think>\n\n</think>\n\nd<|im_end|>\n"]],
    [
      "qwen3",
      [user("a"), assistant("b"), user("c"), assistant("<think>\nw\n</think>\n\nd")],
      ["b<|im_end|>\n", "<think>\nw\n</think>\n\nd<|im_end|>\n"],
    ],
    ["qwen2.5", thinking, ["<think>\nwhy\n</think>\n\nb<|im_end|>\n", "d<|im_end|>\n"]],
    ["phi3", [user("a"), assistant("b"), user("c"), assistant("d")], ["b<|end|>\n", "d<|end|>\n</s>"]],
    ["olmo2", [user("a"), assistant("b"), user("c"), assistant("d")], ["b</s>", "d</s>"]],
    ["smollm3", [user("a"), assistant("b")], ["<|im_start|>assistant\nb<|im_end|>\n"]],
    ["gemma", [user("a"), assistant("b")], ["b<end_of_turn>\n"]],
    ["llama2", [user("a"), assistant("b"), user("c"), assistant("d")], [" b </s>", " d </s>"]],
  ];
  test.each(reasoning)(
    "are the assistant's words and the mark that ends them, with the template of %s: %j",
    (family, messages, wanted) => {
      expect(learned(familyOf(family), { messages })).toEqual(wanted);
    },
  );

  test("are what the template marks as generated, where it does", () => {
    const template =
      "{% for m in messages %}{{ m.role[0] }}:{% if m.role == 'assistant' %}" +
      "{% generation %}{{ m.content }};{% endgeneration %}" +
      "{% else %}{{ m.content }};{% endif %}{% endfor %}";
    expect(
      learned(withTemplate(template), { messages: [user("a"), assistant("b"), user("c"), assistant("d")] }),
    ).toEqual(["b;", "d;"]);
  });

  test("of a long conversation take three renderings of beginnings, whatever their number", () => {
    const renderings = (exchanges: number) => {
      let count = 0;
      const tokenizer = familyOf("qwen3");
      const counted = new Proxy(tokenizer, {
        get: (target, name, receiver) => {
          if (name === "specialTokens") count++;
          return Reflect.get(target, name, receiver) as unknown;
        },
      });
      const messages = Array.from({ length: exchanges }, (_, i) => [user(`q${i}`), assistant(`a${i}`)]).flat();
      expect(assistantTurns(counted, { messages }, "p").turns).toHaveLength(exchanges);
      return count;
    };
    expect(renderings(40)).toBe(renderings(10));
  });
});

describe.each(["qwen3", "llama3", "llama2", "smollm2"] as const)(
  "a text in sections, by the tokenizer of %s",
  (name) => {
    test("has the tokens of the whole, and shares with it what its beginnings do", async () => {
      const tokenizer = await fixtureTokenizer(name);
      const encode = (text: string) => tokenizer.encode(text, { addSpecialTokens: false });
      const marks = [...(tokenizer.splitters ?? []).slice(0, 4), "<|im_end|>", "<|eot_id|>", "</s>", "<s>"];
      const words = ["Hi", " there", "\n", "  ", "日本", "👍🏽", "<|im", "_start|>", "é", " <", "x", ...marks];
      let state = 7;
      const draw = () => (state = (state * 48271) % 2147483647);
      for (let round = 0; round < 40; round++) {
        const text = Array.from({ length: 30 }, () => words[draw() % words.length]).join("");
        const { ids, shared } = await runInSlices(tokenizeSections(tokenizer, text, encode));
        expect(ids).toEqual(encode(text));
        for (let at = 0; at <= text.length; at++)
          expect([at, shared(at)]).toEqual([
            at,
            at === text.length ? ids.length : commonPrefix(encode(text.slice(0, at)), ids),
          ]);
      }
    });
  },
);

test("the labels are the same in slices as at once", async () => {
  const tokenizer = await fixtureTokenizer("qwen3");
  const parse = exampleParser();
  for (const { messages, tools } of LINES.slice(0, 20)) {
    const example = parse({ messages, ...(tools === undefined ? {} : { tools }) }, "p");
    const options = { maxLength: 100_000, vocabSize: 200_000 };
    let expected: unknown;
    try {
      expected = encodeExample(tokenizer, example, options);
    } catch (error) {
      await expect(encodeExampleInSlices(tokenizer, example, options)).rejects.toThrow((error as Error).message);
      continue;
    }
    expect(await encodeExampleInSlices(tokenizer, example, options)).toEqual(expected);
  }
});

test("the tools of a line reach the template", async () => {
  const tokenizer = await fixtureTokenizer("qwen3");
  const messages = [user("a"), assistant("b")];
  const tools = [{ type: "function", function: { name: "look_up" } }];
  const encode = (record: unknown) => {
    const encoded = encodeExample(tokenizer, exampleParser()(record, "p"), { maxLength: 1000, vocabSize: 200_000 });
    return encoded.kind === "tokens" ? tokenizer.decode(encoded.ids) : "";
  };
  expect(encode({ messages, tools })).toBe(renderChat(tokenizer, messages, { tools }));
  expect(encode({ messages, tools })).toContain("look_up");
  expect(encode({ messages, tools: null })).toBe(renderChat(tokenizer, messages));
  expect(() => encode({ messages, tools: {} })).toThrow('p: "tools" is not a list');
});

describe("a field that nothing reads", () => {
  const warned = async (records: unknown[], options = {}): Promise<string[]> => {
    const warnings: string[] = [];
    const spy = jest.spyOn(process, "emitWarning").mockImplementation((message) => void warnings.push(String(message)));
    try {
      await using dataset = await openDataset(records, options);
      for (let i = 0; i < dataset.size; i++) await dataset.at(i);
    } finally {
      spy.mockRestore();
    }
    return warnings;
  };
  const head = { kind: "classification", problem: "single_label_classification", labels: ["a", "b"] } as never;
  const cases: [string, unknown[], object, string[]][] = [
    [
      "beside messages",
      [{ messages: [user("a"), assistant("b")], tool: [] }],
      {},
      ['examples: nothing reads the field "tool" (first in examples[0])'],
    ],
    [
      "beside a text, once for all lines",
      [{ text: "a" }, { text: "b", id: 1 }, { text: "c", id: 2, lang: "x" }],
      {},
      ['examples: nothing reads the fields "id", "lang" (first in examples[1])'],
    ],
    [
      "beside a completion",
      [{ prompt: "a", completion: "b", weight: 1 }],
      {},
      ['examples: nothing reads the field "weight" (first in examples[0])'],
    ],
    [
      "beside choices",
      [{ prompt: "a", choices: ["b", "c"], label: 0, n: 1 }],
      {},
      ['examples: nothing reads the field "n" (first in examples[0])'],
    ],
    ["beside ids", [{ ids: [1, 2], n: 1 }], {}, ['examples: nothing reads the field "n" (first in examples[0])']],
    [
      "beside a label",
      [{ text: "a", label: 0, n: 1 }],
      { head },
      ['examples: nothing reads the field "n" (first in examples[0])'],
    ],
    [
      "with a template, where any field may stand",
      [{ a: "a", n: 1 }],
      { template: { prompt: "{a}", completion: "b" } },
      [],
    ],
    ["of an objective's prompt", [{ prompt: "a", n: 1 }], { prompts: true }, []],
    ["that is known", [{ messages: [user("a"), assistant("b")], tools: [] }], {}, []],
  ];
  test.each(cases)("%s is named once", async (_, records, options, wanted) => {
    expect(await warned(records, options)).toEqual(wanted);
  });
});

describe("a turn whose thoughts are left out once others follow it", () => {
  const messages = [user("a"), assistant("b"), user("c"), assistant("d")];
  const [asked, through] = ["Ua;A", "Ua;A<t>b;"];
  const render = (count: number, add: boolean) => (count === 1 ? (add ? asked : "Ua;") : add ? `${through}A` : through);
  const border = (whole: string) => borderOf(whole, messages, 1, render);

  test("is what was said, with the marks behind it", () => {
    expect(border("Ua;Ab;Uc;Ad;")).toEqual({ begin: 4, end: 6 });
    expect(border("Ua;A\n b;Uc;Ad;")).toEqual({ begin: 4, end: 8 });
    expect(border(through)).toEqual({ begin: 4, end: through.length });
  });

  test.each(["Ua;Axb;Uc;Ad;", "Ua;A;Uc;Ad;", "Ua;A  ", "Ua;Ab"])("has no border in %j", (whole) => {
    expect(() => border(whole)).toThrow(expect.objectContaining({ kind: "changes" }));
  });

  test("has none where nothing was said", () => {
    const silent = [user("a"), assistant(""), user("c"), assistant("d")];
    expect(() => borderOf("Ua;A;Uc;Ad;", silent, 1, render)).toThrow(expect.objectContaining({ kind: "changes" }));
  });
});

test("a turn has no border is what its error says", () => {
  const messages = [user("a"), assistant("b")];
  expect(() => borderOf("xUa", messages, 1, (count) => (count === 1 ? "other" : "xUa"))).toThrow(TurnError);
});
