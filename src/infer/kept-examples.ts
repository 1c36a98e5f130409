import type { EncodedExample } from "../data/index.js";

/** Bytes of encoded examples that are kept, about. */
const KEPT_BYTES = 64 * 2 ** 20;
/** What an array costs beside its elements, about. */
const ARRAY_BYTES = 200;

/** The first examples of a data set in tokens, as many as fit: each is tokenised once, not at every epoch. */
export class KeptExamples {
  private readonly examples: EncodedExample[] = [];
  private bytes = 0;
  private full = false;

  constructor(private readonly limit = KEPT_BYTES) {}

  /** How many are kept: the first ones. */
  get count(): number {
    return this.examples.length;
  }

  /** Examples come in order. One that does not fit ends it: what is kept has no gaps. */
  add(example: EncodedExample): void {
    const bytes = bytesOf(example);
    this.full ||= this.bytes + bytes > this.limit;
    if (this.full) return;
    this.examples.push(example);
    this.bytes += bytes;
  }

  get(index: number): EncodedExample | undefined {
    return this.examples[index];
  }
}

function bytesOf(example: EncodedExample): number {
  switch (example.kind) {
    case "tokens":
      return 2 * ARRAY_BYTES + example.ids.byteLength + example.labels.byteLength;
    case "choices":
      return example.choices.reduce((sum, { ids }) => sum + ARRAY_BYTES + ids.byteLength, ARRAY_BYTES);
    case "labelled":
      return 2 * ARRAY_BYTES + example.ids.byteLength + 8 * example.labels.length;
    case "span":
      return 2 * ARRAY_BYTES + example.ids.byteLength;
  }
}
