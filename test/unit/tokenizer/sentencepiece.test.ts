import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { StreamDecoder } from "../../../src/tokenizer/stream.js";
import { loadTokenizer } from "../../../src/tokenizer/tokenizer.js";
import { cleanUp, failure, temporaryFolder } from "../checkpoint/support.js";
import { FIXTURES } from "./support.js";

interface Row {
  readonly config: Record<string, unknown>;
  readonly size: number;
  readonly texts: { text: string; ids: number[]; around: number[]; decoded: string }[];
}

const MODELS = join(FIXTURES, "sentencepiece");

afterAll(cleanUp);

async function folder(config: Record<string, unknown>, model: string | Uint8Array, type?: string): Promise<string> {
  const dir = await temporaryFolder();
  if (typeof model === "string") await cp(join(MODELS, model), join(dir, "tokenizer.model"));
  else await writeFile(join(dir, "tokenizer.model"), model);
  await writeFile(join(dir, "tokenizer_config.json"), JSON.stringify(config));
  if (type !== undefined) await writeFile(join(dir, "config.json"), JSON.stringify({ model_type: type }));
  return dir;
}

async function rows(): Promise<Row[]> {
  return (JSON.parse(await readFile(join(MODELS, "expected.json"), "utf8")) as { rows: Row[] }).rows;
}

test("a tokenizer.model gives the ids and texts of transformers' LlamaTokenizer", async () => {
  for (const row of await rows()) {
    const tokenizer = await loadTokenizer(await folder(row.config, "tokenizer.model"));
    const answer = {
      ...row,
      size: tokenizer.vocabSize,
      texts: row.texts.map(({ text, ids }) => ({
        text,
        ids: tokenizer.encode(text, { addSpecialTokens: false }),
        around: tokenizer.encode(text),
        decoded: tokenizer.decode(ids),
      })),
    };
    expect(answer).toEqual(row);
    for (const { ids, decoded } of row.texts) {
      const stream = new StreamDecoder(tokenizer, { skipSpecialTokens: false });
      expect(ids.map((id) => stream.push(id)).join("") + stream.end()).toBe(decoded);
    }
  }
});

test.each(["llama", "mistral"])("the model type %s stands in for a class, and a text begins with <s>", async (type) => {
  const tokenizer = await loadTokenizer(await folder({}, "tokenizer.model", type));
  const [first] = await rows();
  for (const { text, around } of first?.texts ?? []) expect(tokenizer.encode(text)).toEqual(around);
  expect(tokenizer).toMatchObject({ bosId: 1, eosId: 2 });
});

test.each([
  ["unigram.model", "tokenizer.model: a unigram model, where LlamaTokenizer has a bpe model; download the model's"],
  ["normalising.model", "tokenizer.model: normalises texts, which LlamaTokenizer does not"],
])("%s is refused", async (model, message) => {
  const dir = await folder({ tokenizer_class: "LlamaTokenizer" }, model);
  await expect(loadTokenizer(dir)).rejects.toThrow(failure("ZO2_ERR_TOKENIZER", message));
});

describe("a tokenizer.model that is damaged", () => {
  const load = async (bytes: Uint8Array) => loadTokenizer(await folder({ tokenizer_class: "LlamaTokenizer" }, bytes));
  const bytes = (...parts: (string | number)[]) =>
    Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part) : Buffer.from([part]))));

  test.each([
    ["empty", bytes(), "it has no pieces"],
    ["another kind of file", bytes("not a protobuf"), "not a SentencePiece model"],
    ["cut within a field", bytes(0x0a, 9, 0x0a, 1, "a"), "it ends within a field"],
    ["cut within a number", bytes(0x0a, 0x80), "it ends within a number"],
    ["a piece without a text", bytes(0x0a, 2, 0x18, 1), "a piece has no text"],
    ["a number for a piece", bytes(0x08, 1), "a number stands where a message belongs"],
    ["an unknown wire type", bytes(0x0b), "field 1 has a wire type that is not used"],
    ["a piece twice", bytes(0x0a, 3, 0x0a, 1, "a", 0x0a, 3, 0x0a, 1, "a", 0x12, 2, 0x18, 2), 'has the piece "a" twice'],
    ["a model type of 9", bytes(0x0a, 3, 0x0a, 1, "a", 0x12, 2, 0x18, 9), "model type is not one of the four"],
    ["Llama 3's, which is tiktoken's", bytes("IQ== 0\nIg== 1\n"), "a file of tiktoken's, which is not read"],
  ])("%s: refused by name", async (_, content, message) => {
    await expect(load(content)).rejects.toThrow(failure("ZO2_ERR_TOKENIZER", message));
  });

  test("cut anywhere, it gives a coded error or a shorter vocabulary", async () => {
    const whole = await readFile(join(MODELS, "tokenizer.model"));
    for (let length = 0; length < whole.length; length += 97) {
      const outcome = await load(whole.subarray(0, length)).catch((error: unknown) => error);
      expect(outcome).toMatchObject(outcome instanceof Error ? { code: "ZO2_ERR_TOKENIZER" } : { bosId: 1 });
    }
  });
});
