import { createReadStream } from "node:fs";
import { isRecord, messageOf } from "../base/guards.js";
import { isZo2Error, Zo2Error } from "../base/errors.js";
import { LineError } from "./issue.js";
import { splitLines } from "./lines.js";

/** One line of a JSON Lines file: the object, and where it stands ("train.jsonl:17") for messages about it. */
export interface JsonLine {
  readonly record: Readonly<Record<string, unknown>>;
  readonly place: string;
  /** From 1, blank lines counted. */
  readonly number: number;
}

export interface ReadOptions {
  /** What messages call the source. @default the path, or "stdin" */
  readonly name?: string;
  readonly maxLineBytes?: number;
}

/** A path, "-" for standard input, or a stream of bytes or text. */
export type LineSource = string | AsyncIterable<Uint8Array | string>;

/**
 * The objects of a JSON Lines source, one by one, in memory for one line at a time. LF and CRLF, a byte order mark,
 * blank lines and a last line without an end are all read. Throws `ZO2_ERR_DATA` with the line's number for a line that
 * is not a JSON object, `ZO2_ERR_IO` when the source cannot be read. Leaving the loop early closes the file.
 */
export async function* readJsonLines(
  source: LineSource,
  options: ReadOptions = {},
): AsyncGenerator<JsonLine, void, undefined> {
  const name = options.name ?? (typeof source !== "string" ? "input" : source === "-" ? "stdin" : source);
  for await (const line of splitLines(chunksOf(source, name), name, options.maxLineBytes)) {
    const place = `${name}:${line.number}`;
    yield { record: parseLine(line.bytes, place), place, number: line.number };
  }
}

/** The object that a line's bytes hold. Throws `ZO2_ERR_DATA` beginning with `place`. */
export function parseLine(bytes: Uint8Array, place: string): Record<string, unknown> {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new LineError("syntax", place, "not UTF-8", { cause: error });
  }
  let record: unknown;
  try {
    record = JSON.parse(text);
  } catch (error) {
    throw new LineError("syntax", place, `not JSON: ${messageOf(error)}`, { cause: error });
  }
  if (!isRecord(record))
    throw new LineError("syntax", place, `${kindOf(record)}, where each line must be a JSON object`);
  return record;
}

function kindOf(value: unknown): string {
  return value === null ? "null" : Array.isArray(value) ? "a list" : `a ${typeof value}`;
}

/** The bytes of a source. Errors of the system become `ZO2_ERR_IO` with the name. */
export async function* chunksOf(source: LineSource, name: string): AsyncGenerator<Uint8Array, void, undefined> {
  const stream: AsyncIterable<Uint8Array | string> =
    typeof source !== "string"
      ? source
      : source === "-"
        ? process.stdin
        : createReadStream(source, { highWaterMark: 1 << 20 });
  const encoder = new TextEncoder();
  try {
    for await (const chunk of stream) yield typeof chunk === "string" ? encoder.encode(chunk) : chunk;
  } catch (error) {
    throw isZo2Error(error)
      ? error
      : new Zo2Error("ZO2_ERR_IO", `${name}: cannot be read: ${messageOf(error)}`, { cause: error });
  }
}
