/** What ops read and write besides parameters. */

/** A number of rows that a batch decides (`ZO2_SYMBOL_*`). */
export type RowSymbol = "rows" | "sequences" | "headRows" | "targets" | "tableRows" | "prefixRows" | "keyRows";

/** Columns of the table of sequences: start, length, prefixStart, prefixLength, keyStart (`ZO2_OP_ATTENTION`). */
export const SEQUENCE_FIELDS = 5;

/** What the head of a pass leaves behind: log-probabilities of the targets, or the logits of the head rows. */
export type Output = "logprobs" | "logits";

/** Rows and columns. */
export interface Shape {
  /** Decided by a batch, or the same always. */
  readonly rows: RowSymbol | number;
  readonly columns: number;
}

export interface Value extends Shape {
  readonly id: number;
  readonly name: string;
  /**
   * `activation`: placed by the memory plan. `input`: an int32 table that comes with a batch. `result`: what a pass
   * leaves behind, fp32. `cache`: rows that live from pass to pass.
   */
  readonly kind: "activation" | "input" | "result" | "cache";
  /** Columns of another value, from `first` on: it has no place of its own. */
  readonly view?: { readonly of: Value; readonly first: number };
}

/** The int32 tables of one micro-batch (`PackedBatch`). */
export interface Inputs {
  /** [rows, 1] rows of the embedding table: token ids, or rows of the gathered table when the embedding is tied. */
  readonly tokens: Value;
  /** [rows, 1] */
  readonly positions: Value;
  /** [sequences, 5] */
  readonly sequences: Value;
  /** [headRows, 1] */
  readonly headRows: Value;
  /** [targets, 2] */
  readonly targets: Value;
  /** [rows, 1] where each row's key and value go: in the cache, or among those of the pass behind a prefix. */
  readonly cacheRows: Value;
  /** [prefixRows, 1] rows of an adapter's keys and values, for every sequence that begins with them. */
  readonly prefixIds: Value;
  /** [prefixRows, 1] where each of them goes, as `cacheRows`. */
  readonly prefixPlaces: Value;
}

/** The value whose memory this one lies in: itself, or what it is a view of. */
export function rootOf(value: Value): Value {
  return value.view?.of ?? value;
}
