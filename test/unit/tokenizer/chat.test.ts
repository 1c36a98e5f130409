import { cp, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ChatMessage, Tokenizer } from "../../../src/tokenizer/types.js";
import { renderChat } from "../../../src/tokenizer/chat.js";
import { strftime } from "../../../src/tokenizer/strftime.js";
import { loadTokenizer } from "../../../src/tokenizer/tokenizer.js";
import { cleanUp, failure, temporaryFolder } from "../checkpoint/support.js";
import { fixtureChats, fixtureEdges, fixtureTokenizer } from "./support.js";

const HI: ChatMessage[] = [{ role: "user", content: "Hi" }];
const TINY = join(__dirname, "../../../docs/demo/tiny-opt");

afterAll(cleanUp);

/** A tokenizer of which only what templates see is real. */
function withTemplate(chatTemplate: Tokenizer["chatTemplate"], specialTokens: Record<string, string> = {}): Tokenizer {
  return {
    vocabSize: 1,
    dir: "d",
    files: [],
    encode: () => [],
    decode: () => "",
    specialTokens,
    ...(chatTemplate === undefined ? {} : { chatTemplate }),
  };
}
const render = (template: string, messages = HI, options = {}) =>
  renderChat(withTemplate(template, { bos_token: "<s>", eos_token: "</s>" }), messages, options);

/** tiny-opt's tokenizer in a folder with `files` beside it. */
async function folderWith(files: Record<string, string>): Promise<string> {
  const dir = await temporaryFolder();
  for (const name of ["vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"])
    await cp(join(TINY, name), join(dir, name));
  for (const [name, content] of Object.entries(files)) await writeFile(join(dir, name), content);
  return dir;
}

describe.each(["llama3", "qwen3"] as const)("the chat template of %s", (name) => {
  test("gives the texts and the ids of transformers", async () => {
    const tokenizer = await fixtureTokenizer(name);
    const chats = await fixtureChats(name);
    expect(chats).toHaveLength(8);
    for (const { messages, add_generation_prompt, text, ids } of chats) {
      const rendered = renderChat(tokenizer, messages, { addGenerationPrompt: add_generation_prompt });
      expect(rendered).toBe(text);
      expect(tokenizer.encode(rendered, { addSpecialTokens: false })).toEqual(ids);
    }
  });
});

test.each(["llama3", "qwen3", "smollm2"] as const)(
  "the chat template of %s gives the texts of jinja2 for tools, thoughts and blanks at the ends",
  async (name) => {
    const tokenizer = await fixtureTokenizer(name);
    const { chats } = await fixtureEdges(name);
    expect(chats).toHaveLength(12);
    for (const {
      messages,
      add_generation_prompt,
      extra: { tools, ...extra },
      text,
    } of chats) {
      const rendered = renderChat(tokenizer, messages, {
        addGenerationPrompt: add_generation_prompt,
        extra,
        ...(Array.isArray(tools) ? { tools } : {}),
      });
      expect(rendered).toBe(text);
    }
  },
);

describe("a template", () => {
  test("knows the special tokens, the tools, what was given besides, and whether a prompt was asked for", () => {
    const template =
      "{{ bos_token }}{{ tools is none }}{{ documents is none }}{{ depth }}{{ add_generation_prompt }}{{ " +
      "messages|length }}{{ eos_token }}";
    expect(render(template, HI, { extra: { depth: 3 } })).toBe("<s>TrueTrue3False1</s>");
    expect(render(template, HI, { tools: [{}], addGenerationPrompt: true })).toBe("<s>FalseTrueTrue1</s>");
    expect(render("{{ bos_token }}", HI, { extra: { bos_token: "B", messages: [] } })).toBe("B");
  });

  test("cuts the blanks of its blocks as transformers does, and breaks out of loops", () => {
    expect(render("{% for m in messages %}\n  {% if true %}\n{{ m.content }}\n  {% endif %}\n{% endfor %}|")).toBe(
      "Hi\n|",
    );
    expect(render("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}|")).toBe("01|");
  });

  test("is given what is no list of messages as it is", () => {
    for (const [given, text] of [
      ["", "[]"],
      ["ab", "[a][b]"],
      [null, "'NoneType' object is not iterable"],
    ] as const) {
      const made = () => render("{% for m in messages %}[{{ m }}]{% else %}[]{% endfor %}", given as never);
      if (given === null) expect(made).toThrow(failure("ZO2_ERR_TOKENIZER", text));
      else expect(made()).toBe(text);
    }
  });

  test("strips the characters it names, and Python's blanks otherwise", () => {
    expect(render("{{ '\\n\\n  a '.lstrip('\\n') }}|{{ 'xyaxy'.strip('yx') }}|{{ 'abba'.rstrip('a') }}")).toBe(
      "  a |a|abb",
    );
    const content = "\ufeff\u0085 a \x1f";
    for (const call of [".strip()", "|trim"])
      expect(render(`{{ messages[0].content${call} }}|`, [{ role: "user", content }])).toBe("\ufeff\u0085 a|");
    expect(render("{{ messages[0].content.strip() }}|", [{ role: "user", content: "\u0085\x1c a\u3000" }])).toBe("a|");
  });

  test("is told the local time as Python's strftime writes it", () => {
    const date = new Date(2024, 6, 4, 15, 7, 9);
    expect(strftime(date, "%d %b %Y, %A %B %-d %y %a %I:%M:%S %p %H %m %% %Q")).toBe(
      "04 Jul 2024, Thursday July 4 24 Thu 03:07:09 PM 15 07 % %Q",
    );
    expect(render("{{ strftime_now('%Y') }}")).toBe(String(new Date().getFullYear()));
  });

  const refused: [string, string, string][] = [
    [
      "that raises an exception, with its words",
      "{{ raise_exception('roles must alternate') }}",
      "d: chat template: roles must alternate",
    ],
    ["that does not parse", "{% for m in messages %}", "d: chat template: cannot be parsed"],
    ["that calls what is no function", "{{ messages() }}", "d: chat template: "],
    [
      "that loops without an end",
      "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
      "steps; it may loop without an end",
    ],
    [
      "that loops over a list it kept",
      "{% set r = range(100000) %}{% for i in r %}{% for j in r %}{{ j }}{% endfor %}{% endfor %}",
      "steps; it may loop without an end",
    ],
    [
      "with a range beyond Jinja's own limit",
      "{{ range(10000000000)|length }}",
      "range() of 10000000000 items; at most 100000",
    ],
    ["with a range that never ends", "{{ range(0, 5, 0)|length }}", "a step that is not 0"],
    ["that calls itself for ever", "{% macro f(g) %}{{ g(g) }}{% endmacro %}{{ f(f) }}", "d: chat template: "],
    [
      "whose text doubles again and again",
      "{% set n = namespace(s='ab') %}{% for i in range(100) %}{% set n.s = n.s + n.s %}{% endfor %}",
      "at most 67108864 are allowed",
    ],
    [
      "that indents by a width out of all measure",
      "{% set s = 'a\nb'|indent(70000000) %}",
      "at most 67108864 are allowed",
    ],
    [
      "whose list doubles again and again",
      "{% set n = namespace(s=[1]) %}{% for i in range(100) %}{% set n.s = n.s + n.s %}{% endfor %}",
      "at most 1048576 are allowed",
    ],
    [
      "that nests deeper than the stack",
      `{{ ${"(".repeat(20_000)}1${")".repeat(20_000)} }}`,
      "d: chat template: cannot be parsed",
    ],
    ["longer than a template may be", "x".repeat(2 ** 20 + 1), "1048577 characters"],
  ];
  test.each(refused)("%s is refused by name", (_, template, message) => {
    expect(() => render(template)).toThrow(failure("ZO2_ERR_TOKENIZER", message));
  });
});

describe("a folder's chat template", () => {
  test("comes from chat_template.jinja, else chat_template.json, else tokenizer_config.json", async () => {
    const files: Record<string, string> = {
      "tokenizer_config.json": '{"chat_template": "config {{ bos_token }}", "bos_token": {"content": "</s>"}}',
    };
    for (const [name, content, text] of [
      ["", "", "config </s>"],
      ["chat_template.json", '{"chat_template": "json"}', "json"],
      ["chat_template.jinja", "jinja", "jinja"],
    ] as const) {
      if (name !== "") files[name] = content;
      const tokenizer = await loadTokenizer(await folderWith(files));
      expect(renderChat(tokenizer, HI)).toBe(text);
      if (name !== "") expect(tokenizer.files.some((file) => file.endsWith(name))).toBe(true);
    }
  });

  test("of several names is the one for tools where tools are given, else the default", async () => {
    const named = (...names: string[]) =>
      JSON.stringify({ chat_template: names.map((name) => ({ name, template: `of ${name}` })) });
    const two = await loadTokenizer(await folderWith({ "tokenizer_config.json": named("default", "tool_use") }));
    expect(renderChat(two, HI)).toBe("of default");
    expect(renderChat(two, HI, { tools: [] })).toBe("of tool_use");
    const one = await loadTokenizer(await folderWith({ "tokenizer_config.json": named("rag") }));
    expect(() => renderChat(one, HI)).toThrow(
      failure("ZO2_ERR_TOKENIZER", 'has the chat templates "rag", none of them "default"'),
    );
  });

  test("that is missing or of no use is named with what to do", async () => {
    const none = await loadTokenizer(TINY);
    expect(none.chatTemplate).toBeUndefined();
    expect(() => renderChat(none, HI)).toThrow(
      failure("ZO2_ERR_TOKENIZER", "has no chat template; put a chat_template.jinja into the folder"),
    );
    const bad: Record<string, string>[] = [
      { "tokenizer_config.json": '{"chat_template": 5}' },
      { "tokenizer_config.json": '{"chat_template": [{"name": "default"}]}' },
      { "chat_template.json": "[]" },
    ];
    for (const files of bad)
      await expect(folderWith(files).then(loadTokenizer)).rejects.toThrow(
        failure("ZO2_ERR_TOKENIZER", Object.keys(files)[0] as string),
      );
  });
});
