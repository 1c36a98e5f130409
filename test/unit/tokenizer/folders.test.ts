import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { loadTokenizer } from "../../../src/tokenizer/tokenizer.js";
import type { Tokenizer } from "../../../src/tokenizer/types.js";
import { cleanUp, failure, temporaryFolder } from "../checkpoint/support.js";
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

type Files = Record<string, object>;

/** The vocabulary of the cases, as a byte-level pair, with other files. */
function pair(files: Files): Promise<string> {
  return folder({ files: files as Row["files"], size: 0, bos: null, eos: null, pad: null, texts: [] });
}

describe("a folder with vocab.json and merges.txt", () => {
  test.each(["GPT2Tokenizer", "Qwen2Tokenizer"])("is split by the pattern of %s", async (name) => {
    const { patterns } = await json<{ patterns: Record<string, { text: string; ids: number[]; decoded: string }[]> }>(
      join(FIXTURES, "more-tokens.json"),
    );
    const tokenizer = await loadTokenizer(await pair({ "tokenizer_config.json": { tokenizer_class: name } }));
    for (const { text, ids, decoded } of patterns[name] ?? []) {
      expect({ text, ids: tokenizer.encode(text) }).toEqual({ text, ids });
      expect(tokenizer.decode(ids)).toBe(decoded);
    }
  });

  const own = (tokenizer_class: string): Files => ({ "tokenizer_config.json": { tokenizer_class } });
  const model = (fields: object): Files => ({ "config.json": fields });
  const GPT2 = [40, 6, 498, 220, 16, 17, 18];
  const QWEN2 = [40, 555, 220, 16, 17, 18];
  test.each<[string, Files, number[]]>([
    ["the class", own("GPT2Tokenizer"), GPT2],
    ["the class with Fast", own("GPT2TokenizerFast"), GPT2],
    ["Qwen2's class", own("Qwen2Tokenizer"), QWEN2],
    ["Qwen2's class with Fast", own("Qwen2TokenizerFast"), QWEN2],
    ["the class in config.json", model({ model_type: "mine", tokenizer_class: "Qwen2Tokenizer" }), QWEN2],
    ["the model type gpt2", model({ model_type: "gpt2" }), GPT2],
    ["the model type opt", { ...own(""), ...model({ model_type: "opt" }) }, GPT2],
    ["the model type qwen2", model({ model_type: "qwen2" }), QWEN2],
    ["the model type qwen3", model({ model_type: "qwen3" }), QWEN2],
    ["the model type qwen3_moe", model({ model_type: "qwen3_moe" }), QWEN2],
    ["the class before the model type", { ...own("GPT2Tokenizer"), ...model({ model_type: "qwen3" }) }, GPT2],
    ["the model type qwen2 before its class", { ...own("GPT2Tokenizer"), ...model({ model_type: "qwen2" }) }, QWEN2],
    ["another family with the class", { ...own("Qwen2TokenizerFast"), ...model({ model_type: "llama" }) }, QWEN2],
    ["nothing, as GPT-2's", {}, GPT2],
  ])("is read by %s", async (_, files, ids) => {
    const tokenizer = await loadTokenizer(await pair(files));
    expect(tokenizer.encode("I'LL 123", { addSpecialTokens: false })).toEqual(ids);
  });

  test.each<[string, Files, string]>([
    ["a class that is not known", own("FooTokenizer"), 'for class "FooTokenizer", whose rules are not known here; put'],
    ["a class without rules of its own", own("PreTrainedTokenizerFast"), "make one with transformers"],
    ["the class of another format", own("BertTokenizer"), 'for class "BertTokenizer"'],
    ["a model type that is not known", model({ model_type: "mine" }), 'for model type "mine", whose rules'],
    ["a known class names", own("Bloom"), "Known are GPT2Tokenizer, Qwen2Tokenizer and LlamaTokenizer"],
    ["Llama's class", own("LlamaTokenizer"), "LlamaTokenizer is read from tokenizer.model, which is not there"],
    ["the model type llama", model({ model_type: "llama" }), "LlamaTokenizer is read from tokenizer.model"],
    [
      "added_tokens_decoder a list",
      { "tokenizer_config.json": { added_tokens_decoder: [] } },
      '"added_tokens_decoder" is not an object of ids and tokens',
    ],
    [
      "added_tokens_decoder with a key that is no id",
      { "tokenizer_config.json": { added_tokens_decoder: { x: { content: "y" } } } },
      '"added_tokens_decoder": "x" is not an id with a token',
    ],
    [
      "added_tokens_decoder with a token without a text",
      { "tokenizer_config.json": { added_tokens_decoder: { 700: { special: true } } } },
      '"added_tokens_decoder": "700" is not an id with a token',
    ],
    [
      "add_eos_token without an eos_token",
      { "tokenizer_config.json": { add_eos_token: true } },
      "add_eos_token is set, but there is no eos_token",
    ],
  ])("is refused with %s", async (_, files, message) => {
    await expect(loadTokenizer(await pair(files))).rejects.toThrow(failure("ZO2_ERR_TOKENIZER", message));
  });
});

test("an added token that gets another id than its config says is named in a warning", async () => {
  const warn = jest.spyOn(process, "emitWarning").mockImplementation(() => undefined);
  const added_tokens_decoder = { 800: { content: "[P]", special: true }, 0: { content: "!", special: false } };
  const dir = await pair({ "tokenizer_config.json": { added_tokens_decoder } });
  const tokenizer = await loadTokenizer(dir);
  expect(tokenizer.encode("a[P]")).toEqual([64, 700]);
  const why = "as in transformers, a token that the vocabulary lacks gets the next id";
  const path = join(dir, "tokenizer_config.json");
  expect(warn.mock.calls).toEqual([[`${path}: added token "[P]" has the id 700, not 800: ${why}`, "Zo2Warning"]]);
  warn.mockRestore();
});
