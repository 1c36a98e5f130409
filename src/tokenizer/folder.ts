/** What the configs of a folder say of its tokenizer, put together as transformers does. */
import { join } from "node:path";
import { readJsonFile } from "../base/files.js";
import { isRecord } from "../base/guards.js";
import { Zo2Error } from "../base/errors.js";

export type Json = Readonly<Record<string, unknown>>;

/** A token as a config declares it; what it leaves out is undefined. */
export interface Declared {
  readonly content: string;
  /** The id that the config gives it. */
  readonly id?: number | undefined;
  readonly lstrip?: boolean | undefined;
  readonly rstrip?: boolean | undefined;
  readonly single_word?: boolean | undefined;
  readonly normalized?: boolean | undefined;
  readonly special?: boolean | undefined;
}

export interface TokenizerFolder {
  readonly dir: string;
  /** Fields of the tokenizer's configs. A null says that there is none; a missing field leaves it to the class. */
  readonly config: Json;
  /** Tokens of `added_tokens_decoder`, or else of `added_tokens.json`, by id. */
  readonly declared: readonly Declared[];
  /** `config.json`, as far as there is one. */
  readonly model: Json;
  /** Whether there is any config of the tokenizer's own. */
  readonly configured: boolean;
}

/** The fields by which tokenizer configs name special tokens, in the order in which new ones get ids. */
export const SPECIAL_NAMES = [
  "bos_token",
  "eos_token",
  "unk_token",
  "sep_token",
  "pad_token",
  "cls_token",
  "mask_token",
] as const;

/** The text of a token that a config gives as a string or as `{content}`. */
export function tokenText(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  return isRecord(value) && typeof value["content"] === "string" ? value["content"] : undefined;
}

/** A token of a config; undefined where the value is none, or an empty one. */
export function declaredToken(value: unknown, id?: number): Declared | undefined {
  const content = tokenText(value);
  if (content === undefined || content === "") return undefined;
  const rules = isRecord(value) ? value : {};
  const flag = (name: string): boolean | undefined => (typeof rules[name] === "boolean" ? rules[name] : undefined);
  return {
    content,
    id,
    lstrip: flag("lstrip"),
    rstrip: flag("rstrip"),
    single_word: flag("single_word"),
    normalized: flag("normalized"),
    special: flag("special"),
  };
}

/**
 * Reads `tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json` and `config.json` of `dir`. The first
 * stands alone where it lists added tokens (`added_tokens_decoder`); otherwise the second goes over it, and the third
 * lists them. Throws `ZO2_ERR_TOKENIZER` naming the file that is malformed.
 */
export async function readTokenizerFolder(dir: string): Promise<TokenizerFolder> {
  const own = await readRecord(join(dir, "tokenizer_config.json"));
  const map = await readRecord(join(dir, "special_tokens_map.json"));
  const extra = await readRecord(join(dir, "added_tokens.json"));
  const model = (await readJsonFile(join(dir, "config.json"), "ZO2_ERR_TOKENIZER")) ?? {};
  const folder = { dir, model: isRecord(model) ? model : {}, configured: own !== undefined || map !== undefined };
  const listed = own?.["added_tokens_decoder"];
  if (own !== undefined && listed !== undefined && listed !== null)
    return { ...folder, config: own, declared: listedTokens(join(dir, "tokenizer_config.json"), listed) };
  const config = { ...own, ...specialTokensMap(own, map) };
  // The older list of the map is not asked which added tokens are special.
  const asked = { ...config, additional_special_tokens: own?.["additional_special_tokens"] };
  return { ...folder, config, declared: extraTokens(join(dir, "added_tokens.json"), asked, extra) };
}

/** Named tokens of `special_tokens_map.json` are special whatever else they are. */
function specialTokensMap(own: Json | undefined, map: Json | undefined): Json {
  const entries = Object.entries(map ?? {}).filter(([name]) => !isExtra(name) || extraTexts(own ?? {}).length === 0);
  return Object.fromEntries(
    entries.map(([name, value]) => [name, isRecord(value) && !isExtra(name) ? { ...value, special: true } : value]),
  );
}

function isExtra(name: string): boolean {
  return name === "additional_special_tokens" || name === "extra_special_tokens";
}

function listedTokens(path: string, listed: unknown): Declared[] {
  if (!isRecord(listed))
    throw new Zo2Error("ZO2_ERR_TOKENIZER", `${path}: "added_tokens_decoder" is not an object of ids and tokens`);
  const tokens = Object.entries(listed).map(([key, value]) => {
    const id = Number(key);
    if (!/^\d{1,9}$/.test(key) || tokenText(value) === undefined)
      throw new Zo2Error(
        "ZO2_ERR_TOKENIZER",
        `${path}: "added_tokens_decoder": ${JSON.stringify(key)} is not an id with a token`,
      );
    return declaredToken(value, id);
  });
  return inOrder(tokens);
}

function extraTokens(path: string, config: Json, extra: Json | undefined): Declared[] {
  const special = new Set([...namedTokens(config), ...extraTexts(config)].map((token) => token.content));
  const tokens = Object.entries(extra ?? {}).map(([content, id]) => {
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0)
      throw new Zo2Error("ZO2_ERR_TOKENIZER", `${path}: token ${JSON.stringify(content)}: its id is not an integer`);
    return declaredToken({ content, special: special.has(content) }, id);
  });
  return inOrder(tokens);
}

function inOrder(tokens: readonly (Declared | undefined)[]): Declared[] {
  return tokens.filter((token) => token !== undefined).sort((left, right) => (left.id ?? 0) - (right.id ?? 0));
}

/**
 * Tokens that fields of `config` name: the common ones, then those of the model's own ("image_token"), then what
 * `extra_special_tokens` names.
 */
export function specialFields(config: Json): [name: string, value: unknown][] {
  const common: readonly string[] = SPECIAL_NAMES;
  const own = Object.keys(config).filter((name) => name.endsWith("_token") && !common.includes(name));
  const extra = extraField(config);
  return [
    ...[...common, ...own].map((name): [string, unknown] => [name, config[name]]),
    ...(isRecord(extra) ? Object.entries(extra) : []),
  ];
}

/** The special tokens that `config` names, each special. */
export function namedTokens(config: Json): Declared[] {
  return specialFields(config).flatMap(([, value]) => asSpecial(value));
}

/** The special tokens that `config` lists without a name. */
export function extraTexts(config: Json): Declared[] {
  const extra = extraField(config);
  return Array.isArray(extra) ? extra.flatMap(asSpecial) : [];
}

function asSpecial(value: unknown): Declared[] {
  const token = declaredToken(value);
  return token === undefined ? [] : [{ ...token, special: true }];
}

/** `additional_special_tokens` is the older name, which counts where the newer one is empty. */
function extraField(config: Json): unknown {
  const { extra_special_tokens: extra, additional_special_tokens: older } = config;
  const empty = extra === undefined || extra === null || (isRecord(extra) && Object.keys(extra).length === 0);
  return empty || (Array.isArray(extra) && extra.length === 0) ? older : extra;
}

async function readRecord(path: string): Promise<Json | undefined> {
  const value = await readJsonFile(path, "ZO2_ERR_TOKENIZER");
  if (value === undefined || isRecord(value)) return value;
  throw new Zo2Error("ZO2_ERR_TOKENIZER", `${path}: not a JSON object`);
}
