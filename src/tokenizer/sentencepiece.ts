/** SentencePiece's `tokenizer.model`: a protobuf message with the pieces of a vocabulary and how they were made. */
import { readFile, stat } from "node:fs/promises";
import { errnoOf, messageOf } from "../base/guards.js";
import { Zo2Error } from "../base/errors.js";

export const SENTENCEPIECE = "tokenizer.model";

/** `ModelProto.SentencePiece.Type`; BYTE pieces stand for the bytes of what has no piece. */
export const PIECE = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

export interface Piece {
  readonly text: string;
  readonly type: number;
}

export interface SentencePieceModel {
  readonly pieces: readonly Piece[];
  /** "unigram" and "bpe" are the two in use. */
  readonly kind: "unigram" | "bpe" | "word" | "char";
  /** Whether texts are normalised by a table before they are split. */
  readonly normalises: boolean;
}

const MAX_BYTES = 64 * 2 ** 20;
const KINDS = ["unigram", "bpe", "word", "char"] as const;

/** Reads the file at `path`; undefined where there is none. A malformed one is `ZO2_ERR_TOKENIZER`. */
export async function readSentencePiece(path: string): Promise<SentencePieceModel | undefined> {
  let bytes: Buffer;
  try {
    const { size } = await stat(path);
    if (size > MAX_BYTES)
      throw new Zo2Error(
        "ZO2_ERR_TOKENIZER",
        `${path}: ${size} bytes, more than the ${MAX_BYTES} such a file may have`,
      );
    bytes = await readFile(path);
  } catch (error) {
    if (error instanceof Zo2Error) throw error;
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENOTDIR") return undefined;
    throw new Zo2Error("ZO2_ERR_IO", `${path}: cannot be read: ${messageOf(error)}`, { cause: error });
  }
  try {
    return parseModel(bytes);
  } catch (error) {
    // Llama 3's own file of that name: a token in base64 and its rank, one a line.
    const other = /^[A-Za-z0-9+/]+={0,2} \d+\r?\n/.test(bytes.toString("latin1", 0, 256))
      ? "a file of tiktoken's, which is not read; download the model's tokenizer.json"
      : `not a SentencePiece model: ${messageOf(error)}`;
    throw new Zo2Error("ZO2_ERR_TOKENIZER", `${path}: ${other}`, { cause: error });
  }
}

function parseModel(bytes: Uint8Array): SentencePieceModel {
  const pieces: Piece[] = [];
  let kind: SentencePieceModel["kind"] = "unigram";
  let normalises = false;
  for (const [field, value] of fields(bytes)) {
    if (field === 1) pieces.push(parsePiece(message(value)));
    if (field === 2) {
      for (const [inner, number] of fields(message(value))) {
        if (inner !== 3) continue;
        const found = typeof number === "number" ? KINDS[number - 1] : undefined;
        if (found === undefined) throw new Error("its trainer's model type is not one of the four");
        kind = found;
      }
    }
    if (field === 3)
      for (const [inner, table] of fields(message(value)))
        if (inner === 2) normalises = typeof table !== "number" && table.length > 0;
  }
  if (pieces.length === 0) throw new Error("it has no pieces");
  return { pieces, kind, normalises };
}

function parsePiece(bytes: Uint8Array): Piece {
  let text: string | undefined;
  let type: number = PIECE.normal;
  for (const [field, value] of fields(bytes)) {
    if (field === 1) text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(message(value));
    if (field === 3 && typeof value === "number") type = value;
  }
  if (text === undefined || text === "") throw new Error("a piece has no text");
  return { text, type };
}

function message(value: number | Uint8Array): Uint8Array {
  if (typeof value === "number") throw new Error("a number stands where a message belongs");
  return value;
}

/** Fields of a protobuf message, by number. Fixed-width numbers, of which none is needed, come as their bytes. */
function* fields(bytes: Uint8Array): Generator<[field: number, value: number | Uint8Array]> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = bytes[at++];
      if (byte === undefined || shift > 2 ** 63) throw new Error("it ends within a number");
      value += (byte & 127) * shift;
      if (byte < 128) return value;
    }
  };
  const take = (length: number): Uint8Array => {
    if (length > bytes.length - at) throw new Error("it ends within a field");
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const key = varint();
    const field = Math.floor(key / 8);
    if (field === 0) throw new Error("a field has no number");
    switch (key % 8) {
      case 0:
        yield [field, varint()];
        break;
      case 1:
        yield [field, take(8)];
        break;
      case 2:
        yield [field, take(varint())];
        break;
      case 5:
        yield [field, take(4)];
        break;
      default:
        throw new Error(`field ${field} has a wire type that is not used`);
    }
  }
}
