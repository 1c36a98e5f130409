import { stat } from "node:fs/promises";
import { join } from "node:path";
import { readJsonFile } from "../base/files.js";
import { isRecord } from "../base/guards.js";
import { Zo2Error } from "../base/errors.js";
import type { AddedToken } from "./added-tokens.js";
import { byteLevelDefinition, readBytePairs } from "./byte-level.js";
import { CHAT_FILES, readChatTemplate } from "./chat-template.js";
import { classOf, KNOWN_CLASSES, type TokenizerClass } from "./classes.js";
import { composeAdded, specialTexts, vocabularyOf } from "./compose.js";
import { type Json, readTokenizerFolder, type TokenizerFolder, tokenText } from "./folder.js";
import { LibraryTokenizer } from "./library-tokenizer.js";
import { llamaDefinition, piecesAsTokens } from "./llama.js";
import { mended } from "./mended.js";
import { readSentencePiece, SENTENCEPIECE } from "./sentencepiece.js";
import type { Tokenizer } from "./types.js";

/** The files a tokenizer is read from, those that make it first. */
const FILES = [
  "tokenizer.json",
  "vocab.json",
  "merges.txt",
  SENTENCEPIECE,
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  ...CHAT_FILES,
] as const;

/** OPT's folders may come without any tokenizer config; its class alone would give it GPT-2's special tokens. */
const OPT = { add_bos_token: true, bos_token: "</s>", eos_token: "</s>", unk_token: "</s>", pad_token: "<pad>" };

const GET_JSON =
  "put the model's tokenizer.json into the folder, or make one with transformers: " +
  "AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)";

/**
 * Whether the folder has any of the files that make a tokenizer; without them a model still works with token ids.
 */
export async function hasTokenizer(dir: string): Promise<boolean> {
  const found = await Promise.all(
    ["tokenizer.json", "vocab.json", "merges.txt", SENTENCEPIECE].map((name) => isFile(join(dir, name))),
  );
  return found.includes(true);
}

/**
 * Reads the tokenizer of the model folder `dir`: `tokenizer.json`, or else what the class that the folder names makes
 * of `vocab.json` with `merges.txt`, or of `tokenizer.model`; with the added and special tokens of the configs beside
 * it. Throws `ZO2_ERR_TOKENIZER` naming the file that is missing or malformed, or the class that is not known.
 */
export async function loadTokenizer(dir: string): Promise<Tokenizer> {
  const folder = await readTokenizerFolder(dir);
  const path = join(dir, FILES[0]);
  const ready = await readJsonFile(path, "ZO2_ERR_TOKENIZER");
  if (ready !== undefined && !isRecord(ready)) throw new Zo2Error("ZO2_ERR_TOKENIZER", `${path}: not a JSON object`);
  const made = ready === undefined ? await madeFromFiles(folder) : fromTokenizerJson(folder, path, ready);
  const { from, config, added, definition } = made;
  const files: string[] = [];
  for (const name of FILES) if (await isFile(join(dir, name))) files.push(join(dir, name));
  return new LibraryTokenizer({
    dir,
    files,
    from,
    definition,
    added,
    specialTokens: specialTexts(config),
    splitSpecialTokens: config["split_special_tokens"] === true,
    cleanUp: cleansUp(definition, config),
    chatTemplate: await readChatTemplate(dir, withoutNulls(config)),
  });
}

interface Made {
  readonly from: string;
  readonly config: Json;
  readonly definition: Record<string, unknown>;
  readonly added: readonly AddedToken[];
}

/**
 * What `tokenizer.json` says of splitting and of the tokens around a text stands, whatever the class. Of the special
 * tokens that a class has by itself only those count that the vocabulary has.
 */
function fromTokenizerJson(folder: TokenizerFolder, path: string, ready: Json): Made {
  const definition = mended(path, ready);
  const vocabulary = vocabularyOf(definition["model"]);
  const listed = definition.added_tokens;
  const has = (token: unknown): boolean =>
    vocabulary.has(String(token)) || listed.some(({ content }) => content === token);
  const { known } = classOf(folder);
  const defaults = Object.entries(known?.defaults ?? {}).filter(([, token]) => has(token));
  const config = { ...Object.fromEntries(defaults), ...folder.config };
  return {
    from: path,
    config,
    definition,
    added: composeAdded(folder, config, vocabulary, listed, known?.plainSpecials ?? false),
  };
}

async function madeFromFiles(folder: TokenizerFolder): Promise<Made> {
  const { dir } = folder;
  const pair = await readBytePairs(dir);
  const model = join(dir, SENTENCEPIECE);
  const has = { pair: pair !== undefined, model: await isFile(model) };
  if (!has.pair && !has.model)
    throw new Zo2Error("ZO2_ERR_TOKENIZER", `${dir}: has no tokenizer.json, and no vocab.json with merges.txt`);
  const known = rulesFor(folder, has);
  const rules = known?.rules ?? "gpt2";
  const opt = folder.model["model_type"] === "opt" && !folder.configured;
  const config: Json = { ...known?.defaults, ...(opt ? OPT : {}), ...folder.config };
  if (rules === "llama") {
    const pieces = await readSentencePiece(model);
    if (pieces === undefined) throw missing(dir, known, SENTENCEPIECE);
    const definition = llamaDefinition(model, pieces, config);
    const declared = [...folder.declared];
    const names = new Set(declared.map(({ content }) => content));
    declared.push(...piecesAsTokens(pieces).filter(({ content }) => !names.has(content)));
    return finished({ ...folder, declared }, config, model, { add_bos_token: true, ...config }, definition, known);
  }
  if (pair === undefined) throw missing(dir, known, "vocab.json and merges.txt");
  const definition = byteLevelDefinition(pair, rules, config["add_prefix_space"] === true);
  return finished(folder, config, join(dir, "vocab.json"), config, definition, known);
}

/** The class by whose rules the files are read. A byte-level pair of which nothing says what it is, is GPT-2's. */
function rulesFor(folder: TokenizerFolder, has: { pair: boolean; model: boolean }): TokenizerClass | undefined {
  const { known, said } = classOf(folder);
  if (known !== undefined) return known;
  if (said === undefined && has.pair) return undefined;
  const files = has.pair ? "vocab.json and merges.txt" : SENTENCEPIECE;
  const why =
    said === undefined
      ? `nothing says by which class ${files} is read`
      : `${files} cannot be read for ${said}, whose rules are not known here`;
  throw new Zo2Error(
    "ZO2_ERR_TOKENIZER",
    `${folder.dir}: ${why}; ${GET_JSON}. Known are ${KNOWN_CLASSES}, as tokenizer_class of tokenizer_config.json`,
  );
}

function missing(dir: string, known: TokenizerClass | undefined, files: string): Zo2Error {
  const owner = known?.name ?? "GPT2Tokenizer";
  return new Zo2Error("ZO2_ERR_TOKENIZER", `${dir}: ${owner} is read from ${files}, which is not there; ${GET_JSON}`);
}

/** The definition with what the configs put around a text. */
function finished(
  folder: TokenizerFolder,
  config: Json,
  from: string,
  around: Json,
  definition: Record<string, unknown>,
  known: TokenizerClass | undefined,
): Made {
  const whole = mended(from, { ...definition, post_processor: null });
  const vocabulary = vocabularyOf(whole["model"]);
  const added = composeAdded(folder, config, vocabulary, [], known?.plainSpecials ?? false);
  const idOf = new Map([...vocabulary, ...added.map(({ content, id }): [string, number] => [content, id])]);
  const special = (name: "bos_token" | "eos_token"): object[] => {
    if (around[`add_${name}`] !== true) return [];
    const token = tokenText(config[name]);
    const id = token === undefined ? undefined : idOf.get(token);
    if (token === undefined || id === undefined)
      throw new Zo2Error(
        "ZO2_ERR_TOKENIZER",
        `${join(folder.dir, "tokenizer_config.json")}: add_${name} is set, but there is no ${name}`,
      );
    return [{ SpecialToken: { id: token, type_id: 0 } }];
  };
  const single = [...special("bos_token"), { Sequence: { id: "A", type_id: 0 } }, ...special("eos_token")];
  return { from, config, added, definition: { ...whole, post_processor: { type: "TemplateProcessing", single } } };
}

/**
 * Whether blanks before punctuation are taken away when decoding. Transformers ignores that wish for BPE, whose blanks
 * are the text's.
 */
function cleansUp(definition: Json, config: Json): boolean {
  const model = definition["model"];
  return config["clean_up_tokenization_spaces"] === true && !(isRecord(model) && model["type"] === "BPE");
}

/** A null, as in "chat_template": null, says no more there than a missing field. */
function withoutNulls(config: Json): Json {
  return Object.fromEntries(Object.entries(config).filter(([, field]) => field !== null));
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? false;
}
