/** A `tokenizer.json` made from a SentencePiece model as transformers' LlamaTokenizer makes one. */
import type { Declared, Json } from "./folder.js";
import { PIECE, type SentencePieceModel } from "./sentencepiece.js";
import { Zo2Error } from "../base/errors.js";

const MARK = "\u2581";

/**
 * BPE with byte fallback over the pieces; the merges are all pairs of pieces that make another piece, those of pieces
 * with smaller ids first. `config` may say `add_prefix_space` (true where it does not) and `legacy`. Throws
 * `ZO2_ERR_TOKENIZER` beginning with `path` for a model that is none of Llama's kind.
 */
export function llamaDefinition(path: string, model: SentencePieceModel, config: Json): Record<string, unknown> {
  const refuse = (what: string): never => {
    const advice = "download the model's tokenizer.json, or make one with transformers";
    throw new Zo2Error("ZO2_ERR_TOKENIZER", `${path}: ${what}; ${advice}`);
  };
  if (model.kind !== "bpe") refuse(`a ${model.kind} model, where LlamaTokenizer has a bpe model`);
  if (model.normalises) refuse("normalises texts, which LlamaTokenizer does not");
  const ids = new Map<string, number>();
  for (const [id, { text }] of model.pieces.entries()) {
    if (ids.has(text)) refuse(`has the piece ${JSON.stringify(text)} twice`);
    ids.set(text, id);
  }
  const prefix = config["add_prefix_space"] !== false;
  const everyPiece = config["legacy"] === true;
  return {
    version: "1.0",
    normalizer: null,
    pre_tokenizer: {
      type: "Metaspace",
      replacement: MARK,
      prepend_scheme: prefix ? (everyPiece ? "always" : "first") : "never",
      split: false,
    },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: MARK }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        ...(prefix ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
      ],
    },
    model: {
      type: "BPE",
      unk_token: null,
      fuse_unk: true,
      byte_fallback: true,
      vocab: Object.fromEntries(ids),
      merges: mergesOf(ids),
    },
  };
}

/** Control pieces are special tokens, those that a user defined are found in a text as they are. */
export function piecesAsTokens(model: SentencePieceModel): Declared[] {
  return model.pieces
    .filter(({ type }) => type === PIECE.control || type === PIECE.userDefined)
    .map(({ text, type }) => ({ content: text, normalized: false, special: type === PIECE.control }));
}

/** Pairs in the order of the ids of what they make; of the pairs of one piece, the shorter left part goes first. */
function mergesOf(ids: ReadonlyMap<string, number>): [string, string][] {
  const merges: [string, string][] = [];
  for (const text of ids.keys()) {
    let at = 0;
    for (const char of text) {
      at += char.length;
      const left = text.slice(0, at);
      const right = text.slice(at);
      if (ids.has(left) && ids.has(right)) merges.push([left, right]);
    }
  }
  return merges;
}
