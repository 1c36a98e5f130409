/** Chat templates and messages: `renderChat` of src/tokenizer, behind the file of a tokenizer. */
import path from "node:path";
import { mutateBundle, packFiles, unpackFiles, writeFolder } from "../lib/bundle.mjs";
import { mutateBytes } from "../lib/bytes.mjs";
import { mutateJson } from "../lib/json.mjs";
import { attempt, demand } from "../lib/oracle.mjs";
import { tokenizerSeeds } from "../lib/tokenizers.mjs";

const NAMES = ["template.jinja", "messages.json"];
const CODES = ["ZO2_ERR_TOKENIZER", "ZO2_ERR_DATA", "ZO2_ERR_CONFIG", "ZO2_ERR_INVALID_ARGUMENT"];
const TEMPLATES = [
  "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] | trim }}{{ " +
    "eos_token }}\n{% endfor %}" +
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
  "{%- if messages[0].role == 'system' %}{{- messages[0].content }}{%- set rest = messages[1:] %}{%- else " +
    "%}{%- set rest = messages %}{%- endif %}" +
    "{%- for m in rest %}{%- if loop.index0 % 2 == 0 and m.role != 'user' %}{{ raise_exception('order') }}{%- " +
    "endif %}" +
    "{{ m.content|upper }}{%- endfor %}",
  "{% macro block(x) %}[{{ x }}]{% endmacro %}{% set ns = namespace(n=0) %}" +
    "{% for m in messages|reverse %}{% set ns.n = ns.n + 1 %}{{ block(m.content|tojson) }}{{ loop.last }}{% " +
    "endfor %}{{ ns.n }}",
];
const MESSAGES =
  '[{"role":"system","content":"Be short."},{"role":"user","content":"Hi?"},{"role":"assistant","content":"Ho."}]';

export default {
  dictionary: [
    "{{",
    "}}",
    "{%",
    "%}",
    "{%-",
    "-%}",
    "{#",
    "#}",
    "for m in messages",
    "endfor",
    "if",
    "elif",
    "else",
    "endif",
    "set x = ",
    "macro",
    "endmacro",
    "call",
    "filter",
    "range(10)",
    "range(1000000000)",
    "|length",
    "|join",
    "|tojson",
    "|trim",
    "|replace('a','aa')",
    "|list",
    "|map(attribute='role')",
    "|selectattr('role')",
    "loop.index",
    "namespace()",
    "raise_exception('x')",
    "strftime_now('%d')",
    "messages",
    "role",
    "content",
    "user",
    "assistant",
    "system",
    "tool",
    "tools",
    "tool_calls",
    "__proto__",
    "constructor",
    "'a' * 100000",
    "* 1000000",
    "~",
    "is defined",
    "not",
    "in",
    "[::-1]",
    "[0]",
    "//",
    "%",
    "bos_token",
    "add_generation_prompt",
    "none",
    "true",
    "{% break %}",
    "{% generation %}",
    "{% endgeneration %}",
  ],
  maxBytes: 8192,

  *seeds() {
    for (const template of TEMPLATES)
      yield packFiles([
        ["template.jinja", template],
        ["messages.json", MESSAGES],
      ]);
  },

  mutate(bytes, random, context) {
    const mutateFile = (name, file) =>
      (name.endsWith(".json") && random.chance(0.85) && mutateJson(file, random, context.dictionary)) ||
      mutateBytes(file, random, context);
    return (
      (random.chance(0.97) && mutateBundle(bytes, random, NAMES, mutateFile)) || mutateBytes(bytes, random, context)
    );
  },

  async missing({ dist }) {
    const { renderChat } = await import(path.join(dist, "tokenizer", "index.js"));
    return renderChat === undefined ? "src/tokenizer has no renderChat" : undefined;
  },

  async open({ dist, folder }) {
    const { loadTokenizer, renderChat } = await import(path.join(dist, "tokenizer", "index.js"));
    const { isZo2Error } = await import(path.join(dist, "base", "errors.js"));
    const [{ "text.txt": _, ...files }] = tokenizerSeeds();
    return async (input) => {
      const given = unpackFiles(input);
      let messages;
      try {
        messages = JSON.parse((given.get("messages.json") ?? Buffer.from(MESSAGES)).toString("utf8"));
      } catch {
        return;
      }
      const config = JSON.stringify({
        bos_token: "<s>",
        eos_token: "</s>",
        chat_template: (given.get("template.jinja") ?? Buffer.alloc(0)).toString("utf8"),
      });
      writeFolder(folder, new Map([...Object.entries(files), ["tokenizer_config.json", config]]));
      const loaded = await attempt(isZo2Error, ["ZO2_ERR_TOKENIZER"], input.length, () => loadTokenizer(folder));
      if (loaded.value === undefined) return;
      for (const addGenerationPrompt of [false, true]) {
        const render = () =>
          attempt(isZo2Error, CODES, input.length, () => renderChat(loaded.value, messages, { addGenerationPrompt }));
        const text = await render();
        if (text.value === undefined) continue;
        demand(typeof text.value === "string", () => `rendered into ${typeof text.value}`);
        const again = await render();
        demand(again.value === text.value, () =>
          `another text the second time: ${again.message ?? again.value}`.slice(0, 500),
        );
      }
    };
  },
};
