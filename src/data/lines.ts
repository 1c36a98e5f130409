/** Lines of a byte stream, in memory for one line and one chunk at a time. */
import { Zo2Error } from "../base/errors.js";

/** Longest line in bytes. One without an end is no data set, and must not fill the memory. */
export const MAX_LINE_BYTES = 64 * 2 ** 20;

const NEWLINE = 0x0a;
const RETURN = 0x0d;

export interface RawLine {
  /** Without its end (LF or CRLF), and without a byte order mark. Valid until the next line is asked for. */
  readonly bytes: Uint8Array;
  /** From 1, blank lines counted. */
  readonly number: number;
  /** Of the first byte, from the start of the stream. */
  readonly offset: number;
}

/**
 * Every line that is not blank. `name` is the stream's name for errors: `ZO2_ERR_DATA` for a line over `maxLineBytes`.
 */
export async function* splitLines(
  chunks: AsyncIterable<Uint8Array>,
  name: string,
  maxLineBytes = MAX_LINE_BYTES,
): AsyncGenerator<RawLine, void, undefined> {
  let parts: Uint8Array[] = [];
  let held = 0;
  let lineStart = 0;
  let number = 1;
  const finish = (tail: Uint8Array): RawLine | undefined => {
    const bytes = parts.length === 0 ? tail : Buffer.concat([...parts, tail]);
    const trimmed = trimEnds(bytes, number === 1);
    return isBlank(trimmed.bytes) ? undefined : { bytes: trimmed.bytes, number, offset: lineStart + trimmed.skipped };
  };
  const checkLength = (length: number): void => {
    if (length > maxLineBytes)
      throw new Zo2Error(
        "ZO2_ERR_DATA",
        `${name}:${number}: more than ${maxLineBytes} bytes without a line end; is this JSON Lines?`,
      );
  };
  for await (const chunk of chunks) {
    let from = 0;
    for (;;) {
      const end = chunk.indexOf(NEWLINE, from);
      const length = held + (end < 0 ? chunk.byteLength : end) - from;
      checkLength(length);
      if (end < 0) break;
      const line = finish(chunk.subarray(from, end));
      if (line !== undefined) yield line;
      parts = [];
      held = 0;
      lineStart += length + 1;
      number++;
      from = end + 1;
    }
    if (from < chunk.byteLength) {
      // A stream may use its buffer again once it has been asked for more. Not slice: that of a Buffer copies nothing.
      parts.push(Uint8Array.from(chunk.subarray(from)));
      held += chunk.byteLength - from;
    }
  }
  const last = held > 0 ? finish(new Uint8Array(0)) : undefined;
  if (last !== undefined) yield last;
}

function trimEnds(bytes: Uint8Array, first: boolean): { bytes: Uint8Array; skipped: number } {
  const skipped = first && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
  const end = bytes[bytes.byteLength - 1] === RETURN ? bytes.byteLength - 1 : bytes.byteLength;
  return { bytes: bytes.subarray(skipped, Math.max(skipped, end)), skipped };
}

function isBlank(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0x20 || byte === 0x09 || byte === RETURN);
}
