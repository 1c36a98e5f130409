/** What a tokenizer is for the rest of the package, and what a conversation is. */

/** Text to token ids and back, with the rules of the model's own files. */
export interface Tokenizer {
  /**
   * Token ids of `text`. With `addSpecialTokens` (the default) the model's leading or closing tokens are added.
   * Throws `ZO2_ERR_TOKENIZER` where the vocabulary has no token for a part of the text.
   */
  encode(text: string, options?: { readonly addSpecialTokens?: boolean }): number[];
  /**
   * The text of `ids`; bytes that are no UTF-8 become U+FFFD. Throws `ZO2_ERR_INVALID_ARGUMENT` for an id outside the
   * vocabulary.
   */
  decode(ids: ArrayLike<number>, options?: { readonly skipSpecialTokens?: boolean }): string;
  /**
   * What `StreamDecoder` works with: `decode` of ids that come one by one. Undefined where the text is known only when
   * all ids are.
   */
  stream?(options?: { readonly skipSpecialTokens?: boolean }): IdStream | undefined;
  readonly bosId?: number;
  readonly eosId?: number;
  readonly padId?: number;
  /** One more than the largest id. A model's embedding may have more rows than that. */
  readonly vocabSize: number;
  readonly dir: string;
  /** Paths of the files that it was read from. */
  readonly files: readonly string[];
  /**
   * Special tokens that split a text wherever they stand, and take no part of what is around them: what stands before
   * one, and what begins with it, have the same tokens alone as together.
   */
  readonly splitters?: readonly string[];
  /** How `renderChat` writes a conversation. */
  readonly chatTemplate?: ChatTemplate;
  /** Texts of the special tokens by name ("bos_token"), as chat templates know them. */
  readonly specialTokens?: Readonly<Record<string, string | readonly string[]>>;
}

/** The pieces that `push` and then `end` return are, joined, the text of all ids. */
export interface IdStream {
  push(id: number): string;
  end(): string;
}

/** One turn. Further fields (`name`, `tool_calls`, `reasoning_content`, ...) reach the template as they are. */
export interface ChatMessage {
  readonly role: string;
  readonly content?: string | null;
  readonly [field: string]: unknown;
}

/** A Jinja template, or several by name, of which "default" and "tool_use" are chosen as transformers does. */
export type ChatTemplate = string | Readonly<Record<string, string>>;
