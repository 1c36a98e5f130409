import { at } from "../base/at.js";
import { type EncodedExample, packBatch } from "../data/index.js";
import { type MicroSizes, microSizes } from "../memory/batch-tables.js";
import { tokenCount } from "./batching.js";

/** What one example takes of a batch. */
export interface Sizes extends MicroSizes {
  /** Tokens by which examples are grouped. */
  readonly tokens: number;
  /** Different tokens in its rows. */
  readonly distinct: number;
}

const FIELDS = ["tokens", "distinct", "rows", "sequences", "headRows", "targets", "objectiveWords"] as const;

/** The sizes of the examples of a data set: 28 bytes for each, in an array that doubles. */
export class ExampleSizes {
  size = 0;
  private values = new Uint32Array(FIELDS.length * 256);

  add(example: EncodedExample): void {
    const packed = packBatch([example]);
    const sizes: Sizes = {
      tokens: tokenCount(example),
      distinct: new Set(packed.tokens).size,
      ...microSizes(packed),
    };
    const begin = this.size * FIELDS.length;
    if (begin === this.values.length) {
      const grown = new Uint32Array(begin * 2);
      grown.set(this.values);
      this.values = grown;
    }
    for (const [i, field] of FIELDS.entries()) this.values[begin + i] = sizes[field];
    this.size++;
  }

  get(index: number, field: keyof Sizes): number {
    return at(this.values, index * FIELDS.length + FIELDS.indexOf(field));
  }

  /** Of a micro-batch of these examples. */
  together(indices: readonly number[]): MicroSizes {
    const sum = (field: keyof MicroSizes) => indices.reduce((total, i) => total + this.get(i, field), 0);
    return {
      rows: sum("rows"),
      sequences: sum("sequences"),
      headRows: sum("headRows"),
      targets: sum("targets"),
      objectiveWords: sum("objectiveWords"),
    };
  }
}
