import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { hasTokenizer, loadTokenizer } from "../../../src/tokenizer/tokenizer.js";
import type { Tokenizer } from "../../../src/tokenizer/types.js";
import { cleanUp, failure, temporaryFolder } from "../checkpoint/support.js";

const TINY = join(__dirname, "../../../docs/demo/tiny-opt");

interface Row {
  text: string;
  ids: number[];
  ids_with_special: number[];
  decoded: string;
  decoded_skip_special: string;
}

/** tiny-opt's files in a folder of their own, with `changes` made to them (null removes). */
async function changed(changes: Record<string, string | null>): Promise<string> {
  const dir = await temporaryFolder();
  for (const name of ["vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"])
    await cp(join(TINY, name), join(dir, name));
  for (const [name, content] of Object.entries(changes)) {
    if (content === null) await rm(join(dir, name));
    else await writeFile(join(dir, name), content);
  }
  return dir;
}

afterAll(cleanUp);

describe("the tokenizer of tiny-opt, from vocab.json and merges.txt", () => {
  let tokenizer: Tokenizer;
  let rows: Row[];
  beforeAll(async () => {
    tokenizer = await loadTokenizer(TINY);
    rows = (
      JSON.parse(await readFile(join(__dirname, "../../fixtures/tokenizers/tiny-opt.json"), "utf8")) as { rows: Row[] }
    ).rows;
  });

  test("gives the ids and texts that transformers gives, row by row", () => {
    expect(rows.length).toBeGreaterThan(40);
    for (const row of rows) {
      expect({ text: row.text, ids: tokenizer.encode(row.text, { addSpecialTokens: false }) }).toEqual({
        text: row.text,
        ids: row.ids,
      });
      expect(tokenizer.encode(row.text)).toEqual(row.ids_with_special);
      expect(tokenizer.decode(row.ids)).toBe(row.decoded);
      expect(tokenizer.decode(Int32Array.from(row.ids_with_special), { skipSpecialTokens: true })).toBe(
        row.decoded_skip_special,
      );
    }
  });

  test("gives back the blanks before punctuation", () => {
    const text = "so good , is n't it ?";
    expect(tokenizer.decode(tokenizer.encode(text, { addSpecialTokens: false }))).toBe(text);
  });

  test("knows its special ids, its size and its files", () => {
    expect(tokenizer).toMatchObject({ bosId: 2, eosId: 2, padId: 1, vocabSize: 4096, dir: TINY });
    expect(tokenizer.files.map((file) => file.slice(TINY.length + 1))).toEqual([
      "vocab.json",
      "merges.txt",
      "tokenizer_config.json",
      "special_tokens_map.json",
    ]);
  });

  test(
    "is the same with special tokens given as objects, with CRLF merges, and without any tokenizer config in an " +
      "OPT folder",
    async () => {
      const object = (content: string) => ({
        content,
        lstrip: false,
        normalized: true,
        rstrip: false,
        single_word: false,
        __type: "AddedToken",
      });
      const config = {
        add_bos_token: true,
        bos_token: object("</s>"),
        eos_token: object("</s>"),
        unk_token: object("</s>"),
        pad_token: "<pad>",
      };
      const merges = (await readFile(join(TINY, "merges.txt"), "utf8")).replaceAll("\n", "\r\n");
      const variants = [
        { "tokenizer_config.json": JSON.stringify(config), "merges.txt": merges },
        { "tokenizer_config.json": null, "special_tokens_map.json": null, "config.json": '{"model_type": "opt"}' },
      ];
      for (const variant of variants) {
        const other = await loadTokenizer(await changed(variant));
        expect(other).toMatchObject({ bosId: 2, eosId: 2, padId: 1 });
        for (const row of rows) expect(other.encode(row.text)).toEqual(row.ids_with_special);
      }
    },
  );

  test("adds no leading token where the config does not ask for one", async () => {
    const other = await loadTokenizer(await changed({ "tokenizer_config.json": '{"bos_token": "</s>"}' }));
    for (const row of rows) expect(other.encode(row.text)).toEqual(row.ids);
  });

  test("gives a special token that the vocabulary lacks the next id", async () => {
    const other = await loadTokenizer(
      await changed({
        "tokenizer_config.json": '{"bos_token": "</s>", "pad_token": "[P]", "additional_special_tokens": ["[Q]"]}',
        "special_tokens_map.json": null,
      }),
    );
    expect(other).toMatchObject({ padId: 4096, vocabSize: 4098 });
    expect(other.encode("good[Q] film", { addSpecialTokens: false })).toContain(4097);
    expect(other.decode([4097, 4096], { skipSpecialTokens: true })).toBe("");
  });

  test("refuses ids outside the vocabulary when decoding", () => {
    for (const id of [-1, 4096, 1.5, Number.NaN])
      expect(() => tokenizer.decode([5, id])).toThrow(failure("ZO2_ERR_INVALID_ARGUMENT", `ids[1] is ${id}`));
  });
});

describe("a tokenizer.json", () => {
  const definition = {
    version: "1.0",
    added_tokens: [
      { id: 5, content: "<s>", special: true, lstrip: false, rstrip: false, single_word: false, normalized: false },
    ],
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { type: "BPE", vocab: { a: 0, b: 1, ab: 2, Ġ: 3 }, merges: ["a b"] },
  };

  test("is used before vocab.json, and gaps in its ids decode to nothing", async () => {
    const tokenizer = await loadTokenizer(
      await changed({
        "tokenizer.json": JSON.stringify(definition),
        "tokenizer_config.json": '{"bos_token": "<s>", "pad_token": null}',
        "special_tokens_map.json": null,
      }),
    );
    expect(tokenizer.encode("ab a<s>b")).toEqual([2, 3, 0, 5, 1]);
    expect(tokenizer.decode([2, 4, 3, 0])).toBe("ab a");
    expect(tokenizer.bosId).toBe(5);
    expect(tokenizer.padId).toBeUndefined();
    expect(tokenizer.vocabSize).toBe(6);
  });

  test("without a token for a part of the text never gives an id that is no number", async () => {
    const strict = { ...definition, model: { ...definition.model, unk_token: "[U]" } };
    const tokenizer = await loadTokenizer(await changed({ "tokenizer.json": JSON.stringify(strict) }));
    expect(() => tokenizer.encode("c")).toThrow(failure("ZO2_ERR_TOKENIZER", 'has no id for "[U]"'));
  });
});

describe("tokenizer files", () => {
  const refused: [string, Record<string, string | null>, string][] = [
    [
      "none at all",
      { "vocab.json": null, "merges.txt": null },
      "has no tokenizer.json, and no vocab.json with merges.txt",
    ],
    ["merges.txt missing", { "merges.txt": null }, "merges.txt: missing beside vocab.json"],
    ["vocab.json missing", { "vocab.json": null }, "vocab.json: missing beside merges.txt"],
    [
      "tokenizer.model alone, of a class that has none",
      { "vocab.json": null, "merges.txt": null, "tokenizer.model": "x" },
      "GPT2Tokenizer is read from vocab.json and merges.txt, which is not there; put the model's tokenizer.json into",
    ],
    [
      "tokenizer.json with an id out of all measure",
      { "tokenizer.json": '{"model": {"type": "BPE", "vocab": {"a": 4294967294}, "merges": []}}' },
      'tokenizer.json: token "a": its id is not an integer from 0 to 16777215',
    ],
    [
      "tokenizer.json with added tokens that are none",
      { "tokenizer.json": '{"added_tokens": [5], "model": {}}' },
      'tokenizer.json: "added_tokens" is not a list of tokens',
    ],
    ["vocab.json not JSON", { "vocab.json": "{" }, "vocab.json: not JSON"],
    ["vocab.json a list", { "vocab.json": "[]" }, "vocab.json: not a JSON object"],
    ["vocab.json empty", { "vocab.json": "{}" }, "vocab.json: holds no token"],
    ["a token's id a string", { "vocab.json": '{"a": "0"}' }, 'token "a": its id is not an integer'],
    ["two tokens with one id", { "vocab.json": '{"a": 0, "b": 0}' }, 'tokens "a" and "b" share the id 0'],
    [
      "a merge of three",
      { "vocab.json": '{"a": 0, "aa": 1}', "merges.txt": "#version: 0.2\na a\na a a\n" },
      "merges.txt:3: not two tokens",
    ],
    [
      "a merge that the vocabulary lacks",
      { "vocab.json": '{"a": 0, "b": 1}', "merges.txt": "a b\n" },
      'merges.txt:1: token "ab" is not in vocab.json',
    ],
    [
      "add_bos_token without a bos_token",
      { "tokenizer_config.json": '{"add_bos_token": true}', "special_tokens_map.json": null },
      "there is no bos_token",
    ],
    ["tokenizer_config.json a string", { "tokenizer_config.json": '"x"' }, "tokenizer_config.json: not a JSON object"],
    ["tokenizer.json a list", { "tokenizer.json": "[]" }, "tokenizer.json: not a JSON object"],
    ["tokenizer.json without a model", { "tokenizer.json": "{}" }, "tokenizer.json: not a tokenizer that can be used"],
    [
      "tokenizer.json with an unknown model",
      {
        "tokenizer.json":
          '{"model": {"type": "Nonsense"}, "decoder": null, "post_processor": null, "pre_tokenizer": null, ' +
          '"normalizer": null}',
      },
      "tokenizer.json: not a tokenizer that can be used",
    ],
    ["added_tokens.json with a string", { "added_tokens.json": '{"[X]": "9"}' }, 'added_tokens.json: token "[X]"'],
  ];
  test("count as there where they can only be refused, so that they are", async () => {
    expect(await hasTokenizer(await changed({ "vocab.json": null, "merges.txt": null }))).toBe(false);
    for (const name of ["tokenizer.json", "tokenizer.model"])
      expect(await hasTokenizer(await changed({ "vocab.json": null, "merges.txt": null, [name]: "{}" }))).toBe(true);
  });

  test.each(refused)("%s: refused with the place", async (_, changes, message) => {
    await expect(loadTokenizer(await changed(changes))).rejects.toThrow(failure("ZO2_ERR_TOKENIZER", message));
  });
});
