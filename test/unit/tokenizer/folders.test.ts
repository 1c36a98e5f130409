import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { loadTokenizer } from "../../../src/tokenizer/tokenizer.js";
import type { Tokenizer } from "../../../src/tokenizer/types.js";
import { cleanUp, temporaryFolder } from "../checkpoint/support.js";
import { CASES, FIXTURES } from "./support.js";

interface Row {
  readonly files: Record<string, Record<string, unknown>>;
  /** The added tokens of a tokenizer.json, where there is one. */
  readonly json?: object[];
  readonly size: number;
  readonly bos: number | null;
  readonly eos: number | null;
  readonly pad: number | null;
  readonly texts: { text: string; ids: number[]; around: number[]; decoded: string | null; plain: string | null }[];
}

async function json<T>(path: string): Promise<T> {
  return JSON.parse(await readFile(path, "utf8")) as T;
}

afterAll(cleanUp);

/** A folder over the vocabulary of the cases, with other files. */
async function folder(row: Row): Promise<string> {
  const dir = join(await temporaryFolder(), "folder");
  await mkdir(dir);
  if (row.json === undefined) {
    for (const name of ["vocab.json", "merges.txt"]) await cp(join(CASES, "qwen2-vocab-merges", name), join(dir, name));
  } else {
    const definition = await json<object>(join(CASES, "added-tokens-beside", "tokenizer.json"));
    await writeFile(join(dir, "tokenizer.json"), JSON.stringify({ ...definition, added_tokens: row.json }));
  }
  for (const [name, content] of Object.entries(row.files)) await writeFile(join(dir, name), JSON.stringify(content));
  return dir;
}

test("240 variations of a folder give the ids, texts and special tokens that transformers gives", async () => {
  const { rows } = await json<{ rows: Row[] }>(join(FIXTURES, "folders.json"));
  expect(rows).toHaveLength(240);
  for (const row of rows) {
    const tokenizer: Tokenizer = await loadTokenizer(await folder(row));
    const is = (id: number | undefined): number | null => id ?? null;
    const answer = {
      ...row,
      size: tokenizer.vocabSize,
      bos: is(tokenizer.bosId),
      eos: is(tokenizer.eosId),
      pad: is(tokenizer.padId),
      texts: row.texts.map(({ text, around, decoded, plain }) => ({
        text,
        ids: tokenizer.encode(text, { addSpecialTokens: false }),
        around: tokenizer.encode(text),
        decoded: decoded && tokenizer.decode(around),
        plain: plain && tokenizer.decode(around, { skipSpecialTokens: true }),
      })),
    };
    expect(answer).toEqual(row);
  }
});

describe.each(["qwen2-vocab-merges", "added-tokens-beside"])("the case %s", (name) => {
  test("gives the expected ids", async () => {
    const dir = join(CASES, name);
    const tokenizer = await loadTokenizer(dir);
    const expected = await json<{ text: string; ids: number[] }[]>(join(dir, "expected.json"));
    for (const { text, ids } of expected) {
      expect({ text, ids: tokenizer.encode(text, { addSpecialTokens: false }) }).toEqual({ text, ids });
      expect(tokenizer.decode(ids)).toBe(text.normalize("NFC"));
    }
  });
});
