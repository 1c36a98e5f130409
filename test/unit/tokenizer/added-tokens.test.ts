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
