import { Zo2Error } from "../base/errors.js";
import type { Tokenizer } from "./types.js";

export interface StreamDecoderOptions {
  /** Whether special tokens give no text. @default true */
  readonly skipSpecialTokens?: boolean;
}

/**
 * Text of ids that come one by one. The pieces joined are `decode` of all ids; none of them ends inside a UTF-8
 * character or would have been another one had later ids been known. Work for an id does not grow with the ids before
 * it.
 *
 * Text is held back while bytes may still be completed: up to three for byte-level vocabularies, a whole run of byte
 * tokens for those with byte fallback. A tokenizer without `stream` is decoded at the end.
 */
export class StreamDecoder {
  private readonly stream: { push(id: number): string; end(): string };
  private ended = false;

  constructor(tokenizer: Tokenizer, options: StreamDecoderOptions = {}) {
    const skipSpecialTokens = options.skipSpecialTokens ?? true;
    this.stream = tokenizer.stream?.({ skipSpecialTokens }) ?? wholeStream(tokenizer, skipSpecialTokens);
  }

  /**
   * The text that id `id` makes certain, often "". Throws `ZO2_ERR_INVALID_ARGUMENT` for an id outside the vocabulary,
   * and after `end`.
   */
  push(id: number): string {
    if (this.ended)
      throw new Zo2Error(
        "ZO2_ERR_INVALID_ARGUMENT",
        `id ${id} came after the end; make a new StreamDecoder for another text`,
      );
    return this.stream.push(id);
  }

  /** What was held back; "" when called again. */
  end(): string {
    if (this.ended) return "";
    this.ended = true;
    return this.stream.end();
  }
}

function wholeStream(tokenizer: Tokenizer, skipSpecialTokens: boolean): { push(id: number): string; end(): string } {
  const ids: number[] = [];
  return {
    push: (id) => {
      ids.push(id);
      return "";
    },
    end: () => tokenizer.decode(ids, { skipSpecialTokens }),
  };
}
