import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { loadTokenizer } from "../../../src/tokenizer/tokenizer.js";
import type { Tokenizer } from "../../../src/tokenizer/types.js";
import { StreamDecoder } from "../../../src/tokenizer/stream.js";
import { cleanUp, temporaryFolder } from "../checkpoint/support.js";
import { CASES, FIXTURES } from "./support.js";

interface Added {
  readonly content: string;
  readonly single_word?: boolean;
  readonly lstrip?: boolean;
  readonly rstrip?: boolean;
  readonly normalized?: boolean;
  readonly special?: boolean;
}

interface Row {
  readonly added: Added[];
  readonly ids_of_added: number[];
  readonly text: string;
  readonly ids: number[];
  readonly decoded: string;
  readonly decoded_skip_special: string;
}

afterAll(cleanUp);

const base = readFile(join(CASES, "added-tokens-beside", "tokenizer.json"), "utf8");

/** The tokenizer of the case with `added` in tokenizer.json, their ids behind the vocabulary unless given. */
async function withAdded(added: readonly Added[], ids?: readonly number[]): Promise<Tokenizer> {
  const dir = await temporaryFolder();
  const definition = JSON.parse(await base) as object;
  const added_tokens = added.map((token, i) => ({ id: ids?.[i] ?? 700 + i, ...token }));
  await writeFile(join(dir, "tokenizer.json"), JSON.stringify({ ...definition, added_tokens }));
  return loadTokenizer(dir);
}

test("480 texts under added tokens with every flag are those of the tokenizers library", async () => {
  const { rows } = JSON.parse(await readFile(join(FIXTURES, "added-tokens.json"), "utf8")) as { rows: Row[] };
  expect(rows).toHaveLength(480);
  const loaded = new Map<string, Promise<Tokenizer>>();
  for (const row of rows) {
    const key = JSON.stringify(row.added);
    const known = loaded.get(key) ?? withAdded(row.added, row.ids_of_added);
    loaded.set(key, known);
    const tokenizer = await known;
    const ids = tokenizer.encode(row.text);
    const skip = { skipSpecialTokens: true };
    const answer = { ...row, ids, decoded: tokenizer.decode(ids), decoded_skip_special: tokenizer.decode(ids, skip) };
    expect(answer).toEqual(row);
    const stream = new StreamDecoder(tokenizer, { skipSpecialTokens: false });
    expect(ids.map((id) => stream.push(id)).join("") + stream.end()).toBe(row.decoded);
  }
});

interface More {
  readonly added: { added: (Added & { id: number })[]; texts: { text: string; ids: number[] }[] }[];
  readonly unknown: { definition: object; texts: { text: string; ids: number[] }[] }[];
}

const more = readFile(join(FIXTURES, "more-tokens.json"), "utf8").then((text) => JSON.parse(text) as More);

test("tokens that overlap, touch words of every script or take blanks with them are those of the library", async () => {
  for (const { added, texts } of (await more).added) {
    const tokenizer = await withAdded(added);
    const answers = texts.map(({ text }) => ({ text, ids: tokenizer.encode(text) }));
    expect({ added, texts: answers }).toEqual({ added, texts });
  }
});

test("what a vocabulary lacks is the model's own unknown token, whatever the config calls unknown", async () => {
  for (const { definition, texts } of (await more).unknown) {
    const dir = await temporaryFolder();
    await writeFile(join(dir, "tokenizer.json"), JSON.stringify(definition));
    await writeFile(join(dir, "tokenizer_config.json"), '{"unk_token": "c"}');
    const tokenizer = await loadTokenizer(dir);
    const answers = texts.map(({ text }) => ({ text, ids: tokenizer.encode(text) }));
    expect({ definition, texts: answers }).toEqual({ definition, texts });
  }
});

test("a long run of blanks between tokens that take blanks with them is walked once", async () => {
  const tokenizer = await withAdded([
    { content: "  ", rstrip: true },
    { content: "<m>", lstrip: true, rstrip: true },
  ]);
  const blanks = " ".repeat(400_000);
  // Each pair of blanks is found, and each takes the rest of the run with it: the library says the same.
  expect(tokenizer.encode(`${blanks}<m>${blanks}`)).toHaveLength(400_001);
  expect(tokenizer.encode("<m>".repeat(100_000))).toHaveLength(100_000);
});
