import { Tokenizer as Library } from "@huggingface/tokenizers";
import { isRecord, messageOf } from "../base/guards.js";
import { isZo2Error, Zo2Error } from "../base/errors.js";
import { type AddedToken, AddedTokenFinder } from "./added-tokens.js";
import { textStreams, type TextStream } from "./decoder.js";
import { type Around, aroundOf } from "./post-processing.js";
import type { ChatTemplate, Tokenizer } from "./types.js";

/** What a folder says of its tokenizer, brought together from its files. */
export interface Composed {
  readonly dir: string;
  /** Paths of the files that it was read from. */
  readonly files: readonly string[];
  /** The path that errors about the definition name. */
  readonly from: string;
  /** A `tokenizer.json`; its added tokens are those of `added`. */
  readonly definition: Readonly<Record<string, unknown>>;
  readonly added: readonly AddedToken[];
  /** Texts of the special tokens by name. */
  readonly specialTokens: Readonly<Record<string, string | readonly string[]>>;
  /** Whether special tokens in a text are text like any other. */
  readonly splitSpecialTokens: boolean;
  /** Whether blanks before punctuation are taken away when decoding. */
  readonly cleanUp: boolean;
  readonly chatTemplate?: ChatTemplate | undefined;
}

/**
 * Normalises, splits, merges and decodes with @huggingface/tokenizers. Added tokens and the ids around a text are ours:
 * the library knows neither `single_word` nor the order in which normalised tokens are looked for.
 */
export class LibraryTokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly dir: string;
  readonly files: readonly string[];
  declare readonly bosId?: number;
  declare readonly eosId?: number;
  declare readonly padId?: number;
  declare readonly chatTemplate?: ChatTemplate;
  readonly specialTokens: Readonly<Record<string, string | readonly string[]>>;
  readonly splitters: readonly string[];
  private readonly from: string;
  private readonly library: Library;
  private readonly special: ReadonlySet<string>;
  private readonly tokens: ReadonlyMap<number, string>;
  private readonly addedIds: ReadonlyMap<string, number>;
  private readonly written: AddedTokenFinder;
  private readonly normalised: AddedTokenFinder;
  private readonly around: Around;
  private readonly model: Readonly<Record<string, unknown>>;
  /** Whether what has no token is left out: BPE without an unknown token, and without tokens for bytes. */
  private readonly drops: boolean;
  private readonly streams: (() => TextStream) | undefined;

  constructor(composed: Composed) {
    const { chatTemplate, specialTokens } = composed;
    this.dir = composed.dir;
    this.files = composed.files;
    this.from = composed.from;
    this.specialTokens = specialTokens;
    if (chatTemplate !== undefined)
      Object.defineProperty(this, "chatTemplate", { value: chatTemplate, enumerable: true });
    this.library = this.used(() => new Library(...libraryArguments(composed)));
    const { model } = composed.definition;
    this.model = isRecord(model) ? model : {};
    const {
      type,
      unk_token,
      byte_fallback,
      continuing_subword_prefix: prefix,
      end_of_word_suffix: suffix,
    } = this.model;
    this.drops = type === "BPE" && !unk_token && byte_fallback !== true && !prefix && !suffix;
    const tokens = this.vocabulary(composed.added);
    this.tokens = tokens;
    this.addedIds = new Map(composed.added.map(({ content, id }) => [content, id]));
    let largest = -1;
    for (const id of tokens.keys()) largest = Math.max(largest, id);
    this.vocabSize = largest + 1;
    this.special = new Set(composed.added.filter((token) => token.special).map((token) => token.content));
    const found = composed.added.filter((token) => !(composed.splitSpecialTokens && this.special.has(token.content)));
    this.splitters = found
      .filter(({ special, lstrip, single_word: word, normalized }) => special && !lstrip && !word && !normalized)
      .map((token) => token.content);
    this.written = new AddedTokenFinder(
      found.filter((token) => !token.normalized).map((token) => ({ text: token.content, token })),
    );
    this.normalised = this.used(
      () =>
        new AddedTokenFinder(
          found.filter((token) => token.normalized).map((token) => ({ text: this.normalise(token.content), token })),
        ),
    );
    this.around = this.used(() => aroundOf(composed.definition["post_processor"], (token) => this.idOf(token)));
    for (const id of [...this.around.before, ...this.around.after])
      if (id >= this.vocabSize)
        throw new Zo2Error(
          "ZO2_ERR_TOKENIZER",
          `${this.from}: the post-processor adds id ${id}; this tokenizer has ids 0 to ${this.vocabSize - 1}`,
        );
    this.streams = textStreams(composed.definition["decoder"]);
    for (const [field, name] of [
      ["bosId", "bos_token"],
      ["eosId", "eos_token"],
      ["padId", "pad_token"],
    ] as const) {
      const token = specialTokens[name];
      const id = typeof token === "string" ? this.idOf(token) : undefined;
      if (id !== undefined) Object.defineProperty(this, field, { value: id, enumerable: true });
    }
  }

  encode(text: string, options?: { readonly addSpecialTokens?: boolean }): number[] {
    const ids = this.used(() => this.idsOf(text));
    if (!(options?.addSpecialTokens ?? true)) return ids;
    const { before, after } = this.around;
    return before.length + after.length === 0 ? ids : [...before, ...ids, ...after];
  }

  decode(ids: ArrayLike<number>, options?: { readonly skipSpecialTokens?: boolean }): string {
    const skip = options?.skipSpecialTokens ?? false;
    const stream = this.stream(options);
    if (stream !== undefined) return Array.from(ids, (id, i) => stream.push(id, `ids[${i}]`)).join("") + stream.end();
    const known = Array.from(ids).filter((id, i) => {
      const token = this.token(id, `ids[${i}]`);
      return token !== undefined && !(skip && this.special.has(token));
    });
    return known.length === 0 ? "" : this.used(() => this.library.decode(known, { skip_special_tokens: false }));
  }

  stream(options?: {
    readonly skipSpecialTokens?: boolean;
  }): { push(id: number, place?: string): string; end(): string } | undefined {
    const text = this.streams?.();
    if (text === undefined) return undefined;
    const skip = options?.skipSpecialTokens ?? false;
    return {
      push: (id, place = "the id") => {
        const token = this.token(id, place);
        return token === undefined || (skip && this.special.has(token)) ? "" : text.push(token);
      },
      end: () => text.end(),
    };
  }

  private idsOf(text: string): number[] {
    const ids: number[] = [];
    let first = true;
    for (const section of this.written.split(text)) {
      for (const piece of typeof section === "string" ? this.normalised.split(this.normalise(section)) : [section]) {
        if (typeof piece === "string") this.appendIds(piece, first, ids);
        else ids.push(piece.id);
        first = false;
      }
      first = false;
    }
    return ids;
  }

  /** The ids of a text without added tokens; `first` where a whole text begins with it. */
  private appendIds(piece: string, first: boolean, ids: number[]): void {
    const { pre_tokenizer: split, model } = this.library;
    // Where a blank goes before the first piece alone, the library takes it for the one that is numbered 0.
    let words: string[] = split === null ? [piece] : split.pre_tokenize(piece, { section_index: first ? 0 : 1 });
    if (this.drops) words = words.map((word) => this.withoutUnknown(word));
    // Unknown tokens become one within a word, and never across words.
    const tokens =
      model?.fuse_unk === true ? words.flatMap((word: string) => model._call([word])) : (model?._call(words) ?? []);
    for (const token of tokens) {
      // The library lets a token without an id pass as undefined, and an unknown token's id as it stands in the file.
      const id = model?.tokens_to_ids.get(token) ?? model?.unk_token_id ?? this.addedIds.get(token);
      if (id === undefined || !Number.isInteger(id) || id < 0 || id >= this.vocabSize)
        throw new Zo2Error(
          "ZO2_ERR_TOKENIZER",
          `${this.from}: has no id for ${JSON.stringify(token)}, and no unknown token`,
        );
      ids.push(id);
    }
  }

  /** Characters that have no token are left out before anything is merged, not after. */
  private withoutUnknown(word: string): string {
    const ids = this.library.model?.tokens_to_ids;
    const { ignore_merges: whole } = this.model;
    if (ids === undefined || (whole === true && ids.has(word))) return word;
    for (const char of word) if (!ids.has(char)) return Array.from(word, (one) => (ids.has(one) ? one : "")).join("");
    return word;
  }

  private idOf(token: string): number | undefined {
    return this.addedIds.get(token) ?? this.library.model?.tokens_to_ids.get(token);
  }

  private normalise(text: string): string {
    return this.library.normalizer?.normalize(text) ?? text;
  }

  /** The token of each id; added tokens go before the model's. */
  private vocabulary(added: readonly AddedToken[]): Map<number, string> {
    const tokens = new Map<number, string>();
    const { model } = this.library;
    // JSON may hold anything where a token should stand; undefined is a gap among the ids.
    model?.vocab.forEach((token: unknown, id: number) => {
      if (token !== undefined && typeof token !== "string")
        throw new Zo2Error(
          "ZO2_ERR_TOKENIZER",
          `${this.from}: the token of id ${id} is ${JSON.stringify(token)}, which is no text`,
        );
      if (token !== undefined) tokens.set(id, token);
    });
    for (const { content, id } of added) {
      tokens.set(id, content);
      // Where the library decodes, it looks here.
      if (model !== null) model.vocab[id] = content;
    }
    return tokens;
  }

  /** What a malformed part of the file makes the library throw, as an error of the file. */
  private used<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (isZo2Error(error)) throw error;
      throw new Zo2Error("ZO2_ERR_TOKENIZER", `${this.from}: not a tokenizer that can be used: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  /** The token of an id; a vocabulary may have gaps, and nothing stands for their ids. */
  private token(id: number, place: string): string | undefined {
    if (!Number.isInteger(id) || id < 0 || id >= this.vocabSize) {
      throw new Zo2Error(
        "ZO2_ERR_INVALID_ARGUMENT",
        `${place} is ${id}; this tokenizer has ids 0 to ${this.vocabSize - 1}`,
      );
    }
    return this.tokens.get(id);
  }
}

function libraryArguments({ definition, specialTokens, cleanUp }: Composed): [object, object] {
  const model = definition["model"] as Record<string, unknown> | undefined;
  return [
    { ...definition, added_tokens: [] },
    {
      clean_up_tokenization_spaces: cleanUp,
      // The library's unigram model looks the end token up, its word-level model the unknown one.
      eos_token: specialTokens["eos_token"],
      unk_token: model?.["unk_token"],
    },
  ];
}
