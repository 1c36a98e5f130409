/** A file of records, whatever its format: read through once, then by index. */
import type { LinePlace } from "./check.js";

/** A record, and where it stands ("train.jsonl:17", "train.parquet, row 16") for messages about it. */
export interface PlacedRecord {
  readonly record: Readonly<Record<string, unknown>>;
  readonly place: string;
}

/** A record while its file is read through; of use until the next one is asked for. */
export interface ScannedRecord extends LinePlace {
  /** Throws `ZO2_ERR_DATA` beginning with the place where it is no record. */
  record(): Record<string, unknown>;
  /** Makes it the next one of those that `at` gives. */
  keep(): void;
}

export interface RecordFile extends AsyncDisposable {
  readonly name: string;
  /** What the file holds: "lines", "rows". */
  readonly unit: string;
  /** Records that were kept. */
  readonly size: number;
  /** Every record once, in order. Throws `ZO2_ERR_IO`, `ZO2_ERR_ABORTED`, and `ZO2_ERR_DATA` for a damaged file. */
  scan(signal: AbortSignal | undefined): AsyncGenerator<ScannedRecord, void, undefined>;
  /** Record `index` of those kept, read anew. Throws `ZO2_ERR_IO`, `ZO2_ERR_DISPOSED`. */
  at(index: number): Promise<PlacedRecord>;
  close(): Promise<void>;
}
