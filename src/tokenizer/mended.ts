/**
 * A `tokenizer.json` in words that @huggingface/tokenizers understands as the Rust library understands the original
 * ones.
 */
import type { AddedToken } from "./added-tokens.js";
import { isRecord } from "../base/guards.js";
import { Zo2Error } from "../base/errors.js";

type Json = Record<string, unknown>;

/** Far above any vocabulary; the library makes lists as long as the largest id. */
const MAX_ID = 2 ** 24;

/**
 * GPT-2's pattern. Written out, the library reads its `\s` as Unicode's White_Space, as Rust does; its built-in copy
 * takes JavaScript's.
 */
const BYTE_LEVEL_PATTERN = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** Puts a blank before a text that has none there. */
const LEADING_BLANK = { type: "Replace", pattern: { Regex: "\\A(?! )" }, content: " " };

/**
 * The definition with its pre-tokenizers mended, and every flag of its added tokens said. Throws `ZO2_ERR_TOKENIZER`
 * beginning with `from` where its ids cannot be ids.
 */
export function mended(from: string, definition: Readonly<Json>): Json & { added_tokens: readonly AddedToken[] } {
  const added = definition["added_tokens"] ?? [];
  if (
    !Array.isArray(added) ||
    !added.every((token) => isRecord(token) && typeof token["content"] === "string" && token["content"] !== "")
  ) {
    throw new Zo2Error("ZO2_ERR_TOKENIZER", `${from}: "added_tokens" is not a list of tokens`);
  }
  const tokens = (added as Json[]).map((token) => addedToken(from, token));
  const model = definition["model"];
  const vocab = isRecord(model) ? model["vocab"] : undefined;
  if (isRecord(vocab)) for (const [token, id] of Object.entries(vocab)) checkId(from, token, id);
  return { ...definition, added_tokens: tokens, pre_tokenizer: preTokenizer(definition["pre_tokenizer"], 0) };
}

function addedToken(from: string, token: Json): AddedToken {
  const content = String(token["content"]);
  const id = token["id"];
  checkId(from, content, id);
  const special = token["special"] === true;
  return {
    id,
    content,
    lstrip: token["lstrip"] === true,
    rstrip: token["rstrip"] === true,
    single_word: token["single_word"] === true,
    normalized: typeof token["normalized"] === "boolean" ? token["normalized"] : !special,
    special,
  };
}

function checkId(from: string, token: string, id: unknown): asserts id is number {
  if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= MAX_ID) {
    throw new Zo2Error(
      "ZO2_ERR_TOKENIZER",
      `${from}: token ${JSON.stringify(token)}: its id is not an integer from 0 to ${MAX_ID - 1}`,
    );
  }
}

function preTokenizer(config: unknown, depth: number): unknown {
  if (!isRecord(config) || depth > 16) return config;
  switch (config["type"]) {
    case "Sequence":
      if (!Array.isArray(config["pretokenizers"])) return config;
      return { ...config, pretokenizers: config["pretokenizers"].map((part) => preTokenizer(part, depth + 1)) };
    case "Digits":
      // Numbers of every script are digits here; the library sees 0 to 9 only.
      return split(config["individual_digits"] === true ? "\\p{N}" : "\\p{N}+");
    case "ByteLevel":
      if (config["use_regex"] === false) return config;
      return {
        type: "Sequence",
        pretokenizers: [
          // The blank has to be there before the text is split.
          ...(config["add_prefix_space"] === true ? [LEADING_BLANK] : []),
          split(BYTE_LEVEL_PATTERN),
          { ...config, add_prefix_space: false, use_regex: false },
        ],
      };
    default:
      return config;
  }
}

function split(pattern: string): Json {
  return { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false };
}
