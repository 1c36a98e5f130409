/**
 * A `tokenizer.json` in words that @huggingface/tokenizers understands as the Rust library understands the original
 * ones.
 */
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

/**
 * The definition with its pre-tokenizers mended. Throws `ZO2_ERR_TOKENIZER` beginning with `from` where its ids cannot
 * be ids.
 */
export function mended(from: string, definition: Json): Json {
  const added = definition["added_tokens"] ?? [];
  if (
    !Array.isArray(added) ||
    !added.every((token) => isRecord(token) && typeof token["content"] === "string" && token["content"] !== "")
  ) {
    throw new Zo2Error("ZO2_ERR_TOKENIZER", `${from}: "added_tokens" is not a list of tokens`);
  }
  for (const token of added as Json[]) checkId(from, String(token["content"]), token["id"]);
  const model = definition["model"];
  const vocab = isRecord(model) ? model["vocab"] : undefined;
  if (isRecord(vocab)) for (const [token, id] of Object.entries(vocab)) checkId(from, token, id);
  return { ...definition, added_tokens: added, pre_tokenizer: preTokenizer(definition["pre_tokenizer"], 0) };
}

function checkId(from: string, token: string, id: unknown): void {
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
      if (config["use_regex"] === false || config["add_prefix_space"] === true) return config;
      return { type: "Sequence", pretokenizers: [split(BYTE_LEVEL_PATTERN), { ...config, use_regex: false }] };
    default:
      return config;
  }
}

function split(pattern: string): Json {
  return { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false };
}
