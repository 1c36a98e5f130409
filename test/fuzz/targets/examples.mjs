/** JSON Lines and what an example is made of: `readJsonLines` and `exampleParser` of src/data. */
import path from "node:path";
import { mutateBytes } from "../lib/bytes.mjs";
import { mutateJson } from "../lib/json.mjs";
import { attempt, demand } from "../lib/oracle.mjs";

const MOST_LINE_BYTES = 2048;
const KINDS = ["text", "ids", "completion", "choices", "chat", "messages"];

async function* chunks(bytes, size) {
  // One buffer for all chunks, as a stream may do it: what was given may not be used after the next was asked for.
  const chunk = Buffer.alloc(size);
  for (let at = 0; at < bytes.length; at += size) {
    const part = chunk.subarray(0, bytes.copy(chunk, 0, at, at + size));
    yield part;
    chunk.fill(0x7b);
  }
}

export default {
  dictionary: [
    "\n",
    "\r\n",
    "\ufeff",
    "text",
    "ids",
    "prompt",
    "completion",
    "choices",
    "label",
    "messages",
    "role",
    "content",
    "user",
    "assistant",
    "{",
    "}",
    "[",
    "]",
    '"',
    ":",
    ",",
  ],
  maxBytes: 8192,

  *seeds() {
    yield Buffer.from('{"text":"A sentence."}\n{"ids":[1,2,3]}\r\n\n{"prompt":"a","completion":" b"}\n');
    yield Buffer.from(
      '\ufeff{"prompt":"It was","choices":[" bad"," good"],"label":1}\n{"prompt":"x","choices":["a","b"],"label":"b"}',
    );
    yield Buffer.from('{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"ho"}]}\n');
    yield Buffer.from(`{"text":"${"long ".repeat(300)}"}\n   \t\r\n{"text":"\\ud83d\\ude00 ünïcode"}`);
  },

  mutate(bytes, random, context) {
    if (random.chance(0.4)) return mutateBytes(bytes, random, context);
    const lines = bytes.toString("utf8").split("\n");
    const at = random.below(lines.length);
    const line = mutateJson(Buffer.from(lines[at]), random, context.dictionary);
    if (line === undefined) return mutateBytes(bytes, random, context);
    lines[at] = line.toString("utf8");
    return Buffer.from(lines.join(random.chance(0.9) ? "\n" : "\r\n"));
  },

  async open({ dist }) {
    const { readJsonLines } = await import(path.join(dist, "data", "jsonl.js"));
    const { exampleParser } = await import(path.join(dist, "data", "examples.js"));
    const { isZo2Error } = await import(path.join(dist, "base", "errors.js"));
    const parse = exampleParser({ vocabSize: 50 });
    const fill = exampleParser({ template: { prompt: "{text}: {{{label}}}", choices: [" {a}", " b"] } });
    const read = (input, size) =>
      attempt(isZo2Error, ["ZO2_ERR_DATA"], input.length, async () => {
        const lines = [];
        for await (const line of readJsonLines(chunks(input, size), { name: "f", maxLineBytes: MOST_LINE_BYTES }))
          lines.push(line);
        return lines;
      });
    return async (input) => {
      const whole = await read(input, Math.max(1, input.length));
      for (const size of [1, 7, 64]) {
        const cut = await read(input, size);
        demand(JSON.stringify(cut) === JSON.stringify(whole), () =>
          `in chunks of ${size} bytes ${JSON.stringify(cut)}, in one ${JSON.stringify(whole)}`.slice(0, 2000),
        );
      }
      for (const { record, place } of whole.value ?? []) {
        for (const parser of [parse, fill]) {
          const example = await attempt(isZo2Error, ["ZO2_ERR_DATA"], input.length, () => parser(record, place));
          if (example.value === undefined) continue;
          const { kind, choices, label, ids } = example.value;
          demand(KINDS.includes(kind), () => `an example of kind ${kind}`);
          if (kind === "choices")
            demand(
              choices.length > 1 && Number.isInteger(label) && label >= 0 && label < choices.length,
              () => `label ${label} of ${choices.length} choices`,
            );
          if (kind === "ids")
            demand(
              ids.every((id) => Number.isInteger(id) && id >= 0 && id < 50),
              () => `ids ${ids}`,
            );
        }
      }
    };
  },
};
