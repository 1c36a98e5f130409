/** Templates say what jinja2 says: test/fixtures/chat-templates/make.py recorded it. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Template } from "../../../src/jinja/index.js";

const FIXTURES = join(__dirname, "../../fixtures/chat-templates");

interface Answer {
  readonly text?: string;
  readonly raised?: string;
  readonly error?: string;
}

function fixture<T>(name: string): T {
  return JSON.parse(readFileSync(join(FIXTURES, name), "utf8")) as T;
}

const GIVEN = {
  bos_token: "<s>",
  eos_token: "</s>",
  strftime_now: (format: string) =>
    ({ "%Y-%m-%d": "2024-07-04", "%d %B %Y": "04 July 2024" })[format] ?? "July 04, 2024",
};

function answer(render: () => string): Answer {
  try {
    return { text: render() };
  } catch (error) {
    const { name, message } = error as Error;
    if (name === "RaisedError") return { raised: message };
    // Anything but a template's own error, or too deep a nesting, would be a fault of ours.
    expect(name === "RangeError" || name.startsWith("Template") || name === "ConversionError").toBe(true);
    return { error: message };
  }
}

const digest = (text: string) => createHash("sha256").update(text).digest("hex").slice(0, 8);

function mark({ text, raised }: Answer): string {
  return text !== undefined ? digest(text) : raised !== undefined ? `R${digest(raised)}` : "E";
}

const { variables, kinds } = fixture<{
  variables: Record<string, unknown>;
  kinds: Record<string, (Answer & { template: string })[]>;
}>("expressions.json");

describe.each(Object.entries(kinds))("%s", (_, rows) => {
  test.each(rows.map((row) => [row.template, row] as const))("%s", (template, { text, raised, error }) => {
    const made = answer(() => new Template(template).render({ ...GIVEN, ...variables }));
    if (error !== undefined) expect(made).toEqual({ error: expect.any(String) });
    else expect(made).toEqual(text !== undefined ? { text } : { raised });
  });
});

const { conversations, families } = fixture<{
  conversations: Record<string, unknown>[];
  families: Record<string, string>;
}>("conversations.json");

test("there are templates of more than twenty families, and 500 conversations", () => {
  expect(Object.keys(families).length).toBeGreaterThan(20);
  expect(conversations).toHaveLength(500);
});

test.each(Object.entries(families))("the template of %s writes every conversation as jinja2 does", (family, marks) => {
  const template = new Template(readFileSync(join(FIXTURES, "families", `${family}.jinja`), "utf8"));
  const expected = marks.split(" ");
  const wrong = conversations.filter((conversation, i) => {
    const given = { tools: null, documents: null, add_generation_prompt: false, ...GIVEN, ...conversation };
    return mark(answer(() => template.render(given))) !== expected[i];
  });
  expect(wrong).toEqual([]);
});

test.each(["template-continue", "template-crlf"])("the template file of %s writes what jinja2 does", (name) => {
  const folder = join(FIXTURES, "cases", name);
  const source = readFileSync(join(folder, "chat_template.jinja"), "utf8");
  const rows = fixture<{ messages: unknown; expected: string }[]>(join("cases", name, "expected.json"));
  for (const { messages, expected } of rows) expect(new Template(source).render({ messages })).toBe(expected);
});

describe("a template's error", () => {
  test.each([
    ["{% if true %}\n\n{{ 1 + }}{% endif %}", "line 3: "],
    ["a\n{% for i in [1] %}\n{{ 'a' + i }}{% endfor %}", 'line 3: can only concatenate str (not "int") to str'],
    ["{% macro f() %}\n{{ x.y.z }}{% endmacro %}\n\n{{ f() }}", "line 2: 'x' is undefined"],
    ["\n{{ 1|nothing }}", "line 2: No filter named 'nothing'."],
    ["\n\n{% foo %}", "line 3: Encountered unknown tag 'foo'."],
  ])("in %j names its line", (template, message) => {
    expect(() => new Template(template).render({})).toThrow(message);
  });

  test("that it raises itself has its very words", () => {
    expect(() => new Template("\n{{ raise_exception('no ' ~ 1) }}").render({})).toThrow(/^no 1$/);
  });
});
