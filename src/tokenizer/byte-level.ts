/** `tokenizer.json`, as far as it matters, made from the older pair of files `vocab.json` and `merges.txt`. */
import { join } from "node:path";
import { readJsonFile, readTextFile } from "../base/files.js";
import { isRecord } from "../base/guards.js";
import { Zo2Error } from "../base/errors.js";

type Json = Record<string, unknown>;

function broken(message: string): Zo2Error {
  return new Zo2Error("ZO2_ERR_TOKENIZER", message);
}

/** GPT-2's pattern is the byte-level pre-tokenizer's own. */
const BYTE_LEVEL = { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true };

/** Qwen2 splits off single digits, and keeps line breaks with the punctuation before them. */
const QWEN2_PATTERN =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+" +
  "|\\s+(?!\\S)|\\s+";

/** A vocabulary of `vocab.json` with the merges of `merges.txt`. */
export interface BytePairs {
  readonly vocab: Json;
  readonly ids: ReadonlyMap<string, number>;
  readonly merges: readonly (readonly [string, string])[];
}

/**
 * `vocab.json` and `merges.txt` of `dir`. Undefined where neither is there; a malformed file is `ZO2_ERR_TOKENIZER`
 * with its line.
 */
export async function readBytePairs(dir: string): Promise<BytePairs | undefined> {
  const vocabPath = join(dir, "vocab.json");
  const mergesPath = join(dir, "merges.txt");
  const vocab = await readJsonFile(vocabPath, "ZO2_ERR_TOKENIZER");
  const merges = await readTextFile(mergesPath, "ZO2_ERR_TOKENIZER");
  if (vocab === undefined && merges === undefined) return undefined;
  if (vocab === undefined) throw broken(`${vocabPath}: missing beside merges.txt; download it`);
  if (merges === undefined) throw broken(`${mergesPath}: missing beside vocab.json; download it`);
  const ids = checkVocab(vocabPath, vocab);
  return { vocab: vocab as Json, ids, merges: parseMerges(mergesPath, merges, ids) };
}

/** A `tokenizer.json` over the pair by the rules of GPT-2 or Qwen2, without added tokens and post-processor. */
export function byteLevelDefinition({ vocab, merges }: BytePairs, rules: "gpt2" | "qwen2", prefixSpace: boolean): Json {
  const bytes = { ...BYTE_LEVEL, add_prefix_space: prefixSpace };
  const split = { type: "Split", pattern: { Regex: QWEN2_PATTERN }, behavior: "Isolated", invert: false };
  return {
    version: "1.0",
    normalizer: rules === "qwen2" ? { type: "NFC" } : null,
    pre_tokenizer:
      rules === "qwen2" ? { type: "Sequence", pretokenizers: [split, { ...bytes, use_regex: false }] } : bytes,
    decoder: BYTE_LEVEL,
    model: { type: "BPE", vocab, merges },
  };
}

function checkVocab(path: string, vocab: unknown): Map<string, number> {
  if (!isRecord(vocab)) throw broken(`${path}: not a JSON object of tokens and ids`);
  const ids = new Map<string, number>();
  const seen = new Map<number, string>();
  const entries = Object.entries(vocab);
  if (entries.length === 0) throw broken(`${path}: holds no token`);
  for (const [token, id] of entries) {
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= 2 ** 31)
      throw broken(`${path}: token ${JSON.stringify(token)}: its id is not an integer from 0 to 2^31 - 1`);
    const other = seen.get(id);
    if (other !== undefined)
      throw broken(`${path}: tokens ${JSON.stringify(other)} and ${JSON.stringify(token)} share the id ${id}`);
    seen.set(id, token);
    ids.set(token, id);
  }
  return ids;
}

function parseMerges(path: string, text: string, ids: ReadonlyMap<string, number>): [string, string][] {
  const merges: [string, string][] = [];
  for (const [i, raw] of text.split("\n").entries()) {
    const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
    // Only the first line can be the version: "# #" further down is a merge.
    if (line === "" || (i === 0 && line.startsWith("#version"))) continue;
    const [left, right, ...more] = line.split(" ");
    if (left === undefined || right === undefined || left === "" || right === "" || more.length > 0) {
      throw broken(`${path}:${i + 1}: not two tokens with a blank between them: ${JSON.stringify(line.slice(0, 80))}`);
    }
    for (const token of [left, right, left + right]) {
      if (!ids.has(token))
        throw broken(
          `${path}:${i + 1}: token ${JSON.stringify(token)} is not in vocab.json; the two files do not belong together`,
        );
    }
    merges.push([left, right]);
  }
  return merges;
}
