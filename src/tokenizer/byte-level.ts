/** `tokenizer.json`, as far as it matters, made from the older pair of files `vocab.json` and `merges.txt`. */
import { join } from "node:path";
import { readJsonFile, readTextFile } from "../base/files.js";
import { isRecord } from "../base/guards.js";
import { Zo2Error } from "../base/errors.js";

/** A token with the rules of how it is found in a text, as `tokenizer.json` lists them under `added_tokens`. */
interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly single_word: boolean;
  readonly normalized: boolean;
  readonly special: boolean;
}

type Json = Record<string, unknown>;

/** The fields by which tokenizer configs name special tokens. */
export const SPECIAL_NAMES = [
  "bos_token",
  "eos_token",
  "unk_token",
  "sep_token",
  "pad_token",
  "cls_token",
  "mask_token",
] as const;

function broken(message: string): Zo2Error {
  return new Zo2Error("ZO2_ERR_TOKENIZER", message);
}

/** The text of a token that a config gives as a string or as `{content}`. */
export function tokenText(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  return isRecord(value) && typeof value["content"] === "string" ? value["content"] : undefined;
}

/**
 * GPT-2's byte-level BPE from `vocab.json` and `merges.txt` in `dir`, as a `tokenizer.json` object. Special tokens and
 * `add_bos_token` come from `config` (the merged tokenizer configs). Undefined where the pair is not there; a malformed
 * file is `ZO2_ERR_TOKENIZER` with its line.
 */
export async function byteLevelTokenizer(dir: string, config: Json): Promise<Json | undefined> {
  const vocabPath = join(dir, "vocab.json");
  const mergesPath = join(dir, "merges.txt");
  const vocab = await readJsonFile(vocabPath, "ZO2_ERR_TOKENIZER");
  const merges = await readTextFile(mergesPath, "ZO2_ERR_TOKENIZER");
  if (vocab === undefined && merges === undefined) return undefined;
  if (vocab === undefined) throw broken(`${vocabPath}: missing beside merges.txt; download it`);
  if (merges === undefined) throw broken(`${mergesPath}: missing beside vocab.json; download it`);
  const ids = checkVocab(vocabPath, vocab);
  const added = addedTokens(dir, ids, config, await readJsonFile(join(dir, "added_tokens.json"), "ZO2_ERR_TOKENIZER"));
  return {
    version: "1.0",
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: {
      type: "ByteLevel",
      add_prefix_space: config["add_prefix_space"] === true,
      trim_offsets: true,
      use_regex: true,
    },
    post_processor: leadingToken(dir, config, added),
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { type: "BPE", vocab, merges: parseMerges(mergesPath, merges, ids) },
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

/** Special tokens of the configs; those that the vocabulary lacks get ids behind it, in the order found. */
function addedTokens(dir: string, ids: Map<string, number>, config: Json, extra: unknown): AddedToken[] {
  const all = new Map<string, AddedToken>();
  let next = -1;
  for (const id of ids.values()) next = Math.max(next, id);
  const add = (value: unknown, special: boolean, wanted?: number): void => {
    const content = tokenText(value);
    if (content === undefined || content === "" || all.has(content)) return;
    const rules = isRecord(value) ? value : {};
    const id = ids.get(content) ?? wanted ?? ++next;
    next = Math.max(next, id);
    const flag = (name: string, otherwise = false) => (typeof rules[name] === "boolean" ? rules[name] : otherwise);
    all.set(content, {
      id,
      content,
      lstrip: flag("lstrip"),
      rstrip: flag("rstrip"),
      single_word: flag("single_word"),
      normalized: flag("normalized", !special),
      special: flag("special", special),
    });
  };
  const addSpecial = (value: unknown): void => {
    add(value, true);
    const known = all.get(tokenText(value) ?? "");
    if (known !== undefined && !known.special) all.set(known.content, { ...known, special: true });
  };
  if (extra !== undefined) {
    if (!isRecord(extra)) throw broken(`${join(dir, "added_tokens.json")}: not a JSON object of tokens and ids`);
    for (const [content, id] of Object.entries(extra)) {
      if (typeof id !== "number" || !Number.isInteger(id) || id < 0)
        throw broken(`${join(dir, "added_tokens.json")}: token ${JSON.stringify(content)}: its id is not an integer`);
      add(content, false, id);
    }
  }
  const decoder = config["added_tokens_decoder"];
  if (isRecord(decoder))
    for (const [id, token] of Object.entries(decoder)) if (/^\d{1,9}$/.test(id)) add(token, false, Number(id));
  for (const name of SPECIAL_NAMES) addSpecial(config[name]);
  const more = config["additional_special_tokens"];
  if (Array.isArray(more)) more.forEach(addSpecial);
  return [...all.values()].sort((a, b) => a.id - b.id);
}

/** OPT's rule: a text begins with the bos token. GPT-2 itself adds nothing. */
function leadingToken(dir: string, config: Json, added: readonly AddedToken[]): Json {
  if (config["add_bos_token"] !== true)
    return { type: "ByteLevel", add_prefix_space: true, trim_offsets: false, use_regex: true };
  const bos = tokenText(config["bos_token"]);
  const token = added.find((candidate) => candidate.content === bos);
  if (token === undefined)
    throw broken(`${join(dir, "tokenizer_config.json")}: add_bos_token is set, but there is no bos_token`);
  const lead = { SpecialToken: { id: token.content, type_id: 0 } };
  return {
    type: "TemplateProcessing",
    single: [lead, { Sequence: { id: "A", type_id: 0 } }],
    pair: [lead, { Sequence: { id: "A", type_id: 0 } }, lead, { Sequence: { id: "B", type_id: 1 } }],
    special_tokens: { [token.content]: { id: token.content, ids: [token.id], tokens: [token.content] } },
  };
}
