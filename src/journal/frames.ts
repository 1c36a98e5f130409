/**
 * The frames of a journal, each with a checksum that goes on from that of the frame before it: a frame that was
 * changed, left out or moved does not fit its neighbours. All numbers are little-endian. See docs/journal.md.
 */
import { crc32 } from "node:zlib";

/** What every journal begins with. The byte above 127 and both line ends show a file that was moved as text. */
export const MAGIC = Buffer.from("\x89zo2run\r\n\x1a", "latin1");

/** Of a payload: the length has 24 bits. */
const MAX_PAYLOAD_BYTES = 2 ** 24 - 1;
const HEAD_BYTES = 4;
const CHECKSUM_BYTES = 4;
/** Beside its payload. */
const FRAME_BYTES = HEAD_BYTES + CHECKSUM_BYTES;

/** Kinds of frames; the number is in the file. */
export const KINDS = { header: 1, session: 2, step: 3, evaluation: 4, closed: 5, coefficients: 6, dropped: 7 } as const;
export type Kind = (typeof KINDS)[keyof typeof KINDS];
/** In the byte of the kind: all that stands before this frame was on disk when it was written. */
const SYNCED = 0x80;

export interface Frame {
  /** A number of `KINDS`, or one that a later version has. */
  readonly kind: number;
  readonly synced: boolean;
  readonly payload: Uint8Array;
  /** Where it stands in the file, and where the next one does. */
  readonly begin: number;
  readonly end: number;
  readonly checksum: number;
}

/** Of the frame before the first. */
export const FIRST_CHECKSUM = crc32(MAGIC);

/** @param previous checksum of the frame before. */
export function encodeFrame(kind: Kind, payload: Uint8Array, previous: number, synced: boolean): Buffer {
  if (payload.byteLength > MAX_PAYLOAD_BYTES)
    throw new Error(`a frame of ${payload.byteLength} bytes; ${MAX_PAYLOAD_BYTES} are the most`);
  const frame = Buffer.allocUnsafe(payload.byteLength + FRAME_BYTES);
  const body = frame.byteLength - CHECKSUM_BYTES;
  frame.writeUInt32LE((kind | (synced ? SYNCED : 0) | (payload.byteLength << 8)) >>> 0, 0);
  frame.set(payload, HEAD_BYTES);
  frame.writeUInt32LE(crc32(frame.subarray(0, body), previous), body);
  return frame;
}

/** The checksum of an encoded frame, from which that of the next goes on. */
export function checksumOf(frame: Buffer): number {
  return frame.readUInt32LE(frame.byteLength - CHECKSUM_BYTES);
}

/** The frame at byte `begin` of a file, if a whole one stands there that goes on from the checksum `previous`. */
export function decodeFrame(bytes: Buffer, begin: number, previous: number): Frame | null {
  if (begin + FRAME_BYTES > bytes.byteLength) return null;
  const head = bytes.readUInt32LE(begin);
  const body = begin + HEAD_BYTES + (head >>> 8);
  const end = body + CHECKSUM_BYTES;
  if (end > bytes.byteLength) return null;
  const checksum = bytes.readUInt32LE(body);
  if (crc32(bytes.subarray(begin, body), previous) !== checksum) return null;
  const kind = head & 0x7f;
  return {
    kind,
    synced: (head & SYNCED) !== 0,
    payload: bytes.subarray(begin + HEAD_BYTES, body),
    begin,
    end,
    checksum,
  };
}

/** What stands behind the last whole frame of a file. */
export interface Tail {
  /** Where the whole frames end. */
  readonly begin: number;
  readonly bytes: number;
  /** A whole frame behind the damage: the file was changed, or its blocks reached the disk out of order. */
  readonly frameBehind: number | null;
  /** Such a frame says that what stands before it was on disk: no crash can have torn it. */
  readonly wasSynced: boolean;
}

/** The whole frames from the first on, and what stands behind them. `bytes` is a file that begins with `MAGIC`. */
export function splitFrames(bytes: Buffer): { readonly frames: readonly Frame[]; readonly tail: Tail } {
  const frames: Frame[] = [];
  let previous = FIRST_CHECKSUM;
  let begin = MAGIC.byteLength;
  for (;;) {
    const frame = decodeFrame(bytes, begin, previous);
    if (frame === null) break;
    frames.push(frame);
    previous = frame.checksum;
    begin = frame.end;
  }
  return { frames, tail: tailOf(bytes, begin) };
}

/** Larger frames are not looked for behind damage, so that the search takes no longer than it is worth. */
const MAX_SEARCHED_BYTES = 2048;
const SEARCHED: readonly number[] = [KINDS.step, KINDS.evaluation, KINDS.closed, KINDS.dropped];

function tailOf(bytes: Buffer, begin: number): Tail {
  let frameBehind: number | null = null;
  // A frame is found by the checksum before it, which stands behind the damage at the earliest.
  for (let at = begin + CHECKSUM_BYTES; at + FRAME_BYTES <= bytes.byteLength; at++) {
    const head = bytes.readUInt32LE(at);
    if (!SEARCHED.includes(head & 0x7f) || head >>> 8 > MAX_SEARCHED_BYTES) continue;
    const frame = decodeFrame(bytes, at, bytes.readUInt32LE(at - CHECKSUM_BYTES));
    if (frame === null) continue;
    frameBehind ??= at;
    if (frame.synced) return { begin, bytes: bytes.byteLength - begin, frameBehind, wasSynced: true };
  }
  return { begin, bytes: bytes.byteLength - begin, frameBehind, wasSynced: false };
}
