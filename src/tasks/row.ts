import { isRecord } from "../base/guards.js";
import { LineError } from "../data/index.js";
import type { PlacedRecord } from "../data/records.js";

/** One row of a task's data; its readers throw `ZO2_ERR_DATA` that names the row and the column. */
export class TaskRow {
  /** Where the row stands, for messages. */
  readonly place: string;
  private readonly record: Readonly<Record<string, unknown>>;

  constructor({ record, place }: PlacedRecord) {
    this.record = record;
    this.place = place;
  }

  text(column: string): string {
    const value = this.record[column];
    if (typeof value !== "string") throw this.bad(column, "is no text", value);
    return value;
  }

  truth(column: string): boolean {
    const value = this.record[column];
    if (typeof value !== "boolean") throw this.bad(column, "is not true or false", value);
    return value;
  }

  /** An index from 0 to below `count`. */
  label(column: string, count: number): number {
    const value = this.record[column];
    if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value < count) return value;
    throw new LineError(
      "label",
      this.place,
      `column ${JSON.stringify(column)} is ${shown(value)}; labels are 0 to ${count - 1}`,
    );
  }

  /** A list of texts, at least one. */
  texts(column: string): string[] {
    return this.listed(column, this.record[column]);
  }

  /** The same of a field of a struct. */
  textsIn(column: string, field: string): string[] {
    const value = this.record[column];
    return this.listed(`${column}.${field}`, isRecord(value) ? value[field] : undefined);
  }

  private listed(column: string, value: unknown): string[] {
    if (!Array.isArray(value) || value.length === 0 || !value.every((item) => typeof item === "string"))
      throw this.bad(column, "is no list of texts", value);
    return value as string[];
  }

  private bad(column: string, what: string, value: unknown): LineError {
    return new LineError("shape", this.place, `column ${JSON.stringify(column)} ${what}: ${shown(value)}`);
  }
}

function shown(value: unknown): string {
  const text = value === undefined ? "missing" : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}
