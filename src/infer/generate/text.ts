import { StreamDecoder, TextStopper, type Tokenizer } from "../../tokenizer/index.js";
import type { FinishReason } from "./decode.js";

/** What a prompt was continued with. */
export interface Generated {
  /** Token ids, those of a stop text included, an end token not. */
  readonly ids: number[];
  /** What stands behind the prompt, up to a stop text, without special tokens; null without a tokenizer. */
  readonly text: string | null;
  /** `"eos"`: an end token came; `"stop"`: a stop text; `"length"`: as many tokens as there may be. */
  readonly reason: FinishReason;
}

/** One continuation on its way from ids to text. */
export class Continuation {
  private readonly ids: number[] = [];
  private readonly decoder: StreamDecoder | null;
  private readonly stopper: TextStopper;
  private readonly known: number;
  /** Text of the prompt that the decoder held back at its end, and gives with what follows. */
  private held = "";
  private text = "";
  private taken = 0;

  constructor(tokenizer: Tokenizer | null, prompt: Int32Array, stop: readonly string[]) {
    this.decoder = tokenizer === null ? null : new StreamDecoder(tokenizer);
    this.stopper = new TextStopper(stop);
    this.known = tokenizer?.vocabSize ?? 0;
    // A text's first token may lose its leading blank, so the prompt goes before. Without a stream it could not be
    // taken off again.
    if (tokenizer?.stream?.() === undefined) return;
    const alone = new StreamDecoder(tokenizer);
    for (const id of prompt) {
      if (id >= this.known) continue;
      this.decoder?.push(id);
      alone.push(id);
    }
    this.held = alone.end();
  }

  /** @returns whether a stop text is complete with this token */
  push(id: number): boolean {
    this.ids.push(id);
    // A model may have rows for more tokens than there are; nothing stands for those.
    if (this.decoder !== null && id < this.known) this.add(this.decoder.push(id));
    return this.stopper.met !== undefined;
  }

  /** Text that is certain and was not taken before, often "". */
  take(): string {
    const piece = this.text.slice(this.taken);
    this.taken = this.text.length;
    return piece;
  }

  /** The whole, when no token follows. What was held back can be taken then. */
  finish(reason: FinishReason): Generated {
    if (this.decoder === null) return { ids: [...this.ids], text: null, reason };
    this.add(this.decoder.end());
    this.text += this.stopper.end();
    return { ids: [...this.ids], text: this.text, reason: this.stopper.met === undefined ? reason : "stop" };
  }

  private add(piece: string): void {
    if (piece === "") return;
    const own = piece.startsWith(this.held) ? piece.slice(this.held.length) : piece;
    this.held = "";
    this.text += this.stopper.push(own);
  }
}
