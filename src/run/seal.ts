/** Seals of units in a file (`zo2.h`, "a seal"): which updates are in the bytes that lie there. */
import { SEAL_BYTES, SEAL_NOTE_BYTES } from "../contract/constants.js";
import type { Checksum } from "../base/hash.js";

/** What a seal says of a unit, and the note is what a run says of it. */
export interface Seal {
  readonly unit: number;
  readonly bytes: number;
  /** XXH64 of them. */
  readonly checksum: bigint;
  readonly note: Note;
}

export interface Note {
  /** The step behind the last whose update the unit has. */
  readonly steps: number;
  /** Of all updates that it has: `UpdatesFingerprint`. */
  readonly fingerprint: string;
}

const MAGIC = Buffer.from("zo2seal1");
const NOTE_AT = 32;
const OWN_CHECKSUM_AT = NOTE_AT + SEAL_NOTE_BYTES;

export function encodeNote({ steps, fingerprint }: Note): Uint8Array {
  const bytes = Buffer.alloc(SEAL_NOTE_BYTES);
  bytes.writeBigUInt64LE(BigInt(steps), 0);
  bytes.write(fingerprint, 8, "hex");
  return bytes;
}

/** Null where the block is no whole seal. */
export function decodeSeal(block: Buffer, checksum: Checksum): Seal | null {
  if (block.byteLength < SEAL_BYTES || !block.subarray(0, MAGIC.byteLength).equals(MAGIC)) return null;
  if (block.readBigUInt64LE(OWN_CHECKSUM_AT) !== checksum.of(block.subarray(0, OWN_CHECKSUM_AT))) return null;
  return {
    unit: Number(block.readBigUInt64LE(8)),
    bytes: Number(block.readBigUInt64LE(16)),
    checksum: block.readBigUInt64LE(24),
    note: {
      steps: Number(block.readBigUInt64LE(NOTE_AT)),
      fingerprint: block.toString("hex", NOTE_AT + 8, OWN_CHECKSUM_AT),
    },
  };
}
