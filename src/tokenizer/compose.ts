/** The added tokens of a tokenizer, from everything in its folder that declares some. */
import { join } from "node:path";
import type { AddedToken } from "./added-tokens.js";
import { isRecord } from "../base/guards.js";
import { type Declared, extraTexts, type Json, namedTokens, specialFields, tokenText } from "./folder.js";
import type { TokenizerFolder } from "./folder.js";

/** Ids by token, of the model's own vocabulary. */
export type Vocabulary = ReadonlyMap<string, number>;

/**
 * The tokens of `ready` (a `tokenizer.json` lists them with ids), then those that the configs declare, then special
 * tokens that are nowhere else. One that the vocabulary has keeps its id; the others follow the largest in order, as
 * in transformers, whatever id a config gives them: where that is another one, a warning says so. Only a gap in the
 * vocabulary is filled by the token that is declared for it.
 */
export function composeAdded(
  folder: TokenizerFolder,
  config: Json,
  vocabulary: Vocabulary,
  ready: readonly AddedToken[],
  plainSpecials: boolean,
): AddedToken[] {
  const all = new Map<string, AddedToken>();
  const taken = new Set(vocabulary.values());
  for (const token of ready) {
    all.set(token.content, token);
    taken.add(token.id);
  }
  let largest = -1;
  for (const id of taken) largest = Math.max(largest, id);
  const idFor = ({ content, id }: Declared): number => {
    const known = vocabulary.get(content);
    if (known !== undefined) return known;
    const gap = id !== undefined && id < largest && !taken.has(id) ? id : ++largest;
    taken.add(gap);
    return gap;
  };
  const moved: string[] = [];
  for (const token of folder.declared) {
    const before = all.get(token.content);
    const id = before?.id ?? idFor(token);
    all.set(token.content, { ...withRules(token, id), special: token.special === true || before?.special === true });
    if (token.id !== undefined && token.id !== id)
      moved.push(`${JSON.stringify(token.content)} has the id ${id}, not ${token.id}`);
  }
  const listed = new Set(all.keys());
  const said = new Set<string>();
  for (const token of [...namedTokens(config), ...extraTexts(config)]) {
    // What is listed stays as it is; of two names for one token, the flags that are said last count.
    const once = JSON.stringify([token.content, token.lstrip, token.rstrip, token.single_word, token.normalized]);
    if (!listed.has(token.content) && !said.has(once))
      all.set(token.content, withRules(token, all.get(token.content)?.id ?? idFor(token)));
    said.add(once);
    if (plainSpecials) {
      const { id } = all.get(token.content) as AddedToken;
      all.set(token.content, withRules({ content: token.content, special: true }, id));
    }
  }
  if (moved.length > 0) {
    const rest = moved.length > 3 ? `, and ${moved.length - 3} more` : "";
    const why = "as in transformers, a token that the vocabulary lacks gets the next id";
    process.emitWarning(
      `${join(folder.dir, "tokenizer_config.json")}: added token ${moved.slice(0, 3).join(", ")}${rest}: ${why}`,
      "Zo2Warning",
    );
  }
  const named = new Set(namedTokens(config).map((token) => token.content));
  return [...all.values()].map((token) => (named.has(token.content) ? { ...token, special: true } : token));
}

function withRules(token: Declared, id: number): AddedToken {
  const special = token.special ?? false;
  return {
    id,
    content: token.content,
    lstrip: token.lstrip ?? false,
    rstrip: token.rstrip ?? false,
    single_word: token.single_word ?? false,
    normalized: token.normalized ?? !special,
    special,
  };
}

/** Texts of special tokens by name, as chat templates know them. */
export function specialTexts(config: Json): Record<string, string | readonly string[]> {
  const named: Record<string, string | readonly string[]> = {};
  for (const [name, value] of specialFields(config)) {
    const text = tokenText(value);
    if (text !== undefined && text !== "") named[name] = text;
  }
  const texts = extraTexts(config).map((token) => token.content);
  if (texts.length > 0) named["additional_special_tokens"] = texts;
  return named;
}

/** Ids by token of the `model` of a `tokenizer.json`, whose vocabulary is an object or a list of tokens and scores. */
export function vocabularyOf(model: unknown): Vocabulary {
  const vocab = isRecord(model) ? model["vocab"] : undefined;
  const ids = new Map<string, number>();
  if (isRecord(vocab)) {
    for (const [token, id] of Object.entries(vocab)) if (typeof id === "number") ids.set(token, id);
  } else if (Array.isArray(vocab)) {
    vocab.forEach((entry: unknown, id) => {
      const token = Array.isArray(entry) ? (entry as unknown[])[0] : undefined;
      if (typeof token === "string" && !ids.has(token)) ids.set(token, id);
    });
  }
  return ids;
}
