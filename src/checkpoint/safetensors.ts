/**
 * The header of a safetensors file: 8 bytes little-endian length, that many bytes of JSON, then the data. Nothing in a
 * header is believed before it is checked against the file's size and against the other tensors.
 */
import { Zo2Error } from "../base/errors.js";
import { isRecord, messageOf } from "../base/guards.js";
import { duplicateKey } from "./json-keys.js";

/** Bits of one element of each dtype of the format. */
export const DTYPE_BITS = {
  BOOL: 8,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  I64: 64,
  U64: 64,
  F64: 64,
  C64: 64,
} as const;

export type TensorDtype = keyof typeof DTYPE_BITS;

/** Where one tensor's bytes are. Elements are little-endian; without `strides` they are row-major, without padding. */
export interface TensorEntry {
  readonly name: string;
  readonly dtype: TensorDtype;
  readonly shape: readonly number[];
  /** Path of the file that holds it. */
  readonly file: string;
  /** Of the first element, from the start of the file. */
  readonly offset: number;
  /** Of the tensor in row-major order. */
  readonly bytes: number;
  /** Elements from one to the next along each dimension, where the file does not have them in row-major order. */
  readonly strides?: readonly number[];
}

export interface SafetensorsHeader {
  /** In the order of the header. */
  readonly tensors: readonly TensorEntry[];
  readonly metadata: Readonly<Record<string, string>>;
}

/** The format's own limit on the JSON part, in bytes. */
export const MAX_HEADER_BYTES = 100_000_000;

/** Bytes before the JSON part. */
export const LENGTH_BYTES = 8;

/** Bytes of a tensor, or undefined where the product passes 2^53 - 1 or is no whole number of bytes. */
export function tensorBytes(dtype: TensorDtype, shape: readonly number[]): number | undefined {
  let elements = 1;
  for (const extent of shape) {
    elements *= extent;
    if (!Number.isSafeInteger(elements)) return undefined;
  }
  const bits = elements * DTYPE_BITS[dtype];
  return Number.isSafeInteger(bits) && bits % 8 === 0 ? bits / 8 : undefined;
}

function broken(file: string, what: string, cause?: unknown): Zo2Error {
  return new Zo2Error("ZO2_ERR_CHECKPOINT", `${file}: ${what}`, cause === undefined ? undefined : { cause });
}

/**
 * Length in bytes of the JSON part, from the first 8 bytes of `file`, which holds `fileBytes` in all.
 * Throws `ZO2_ERR_CHECKPOINT` when the file cannot hold a header of that length.
 */
export function headerLength(file: string, head: Uint8Array, fileBytes: number): number {
  if (fileBytes < LENGTH_BYTES || head.byteLength < LENGTH_BYTES) {
    throw broken(
      file,
      `${fileBytes} bytes is too short for a safetensors file (at least ${LENGTH_BYTES + 2}); download it again`,
    );
  }
  const length = new DataView(head.buffer, head.byteOffset, LENGTH_BYTES).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) {
    throw broken(
      file,
      `header length ${length} is more than the ${MAX_HEADER_BYTES} bytes the format allows; is this a ` +
        "safetensors file?",
    );
  }
  if (Number(length) > fileBytes - LENGTH_BYTES) {
    throw broken(
      file,
      `header length ${length} reaches past the end of the file (${fileBytes} bytes); download it again`,
    );
  }
  return Number(length);
}

/**
 * Parses and checks the JSON part of a header. `json` is exactly that part, `fileBytes` the size of the whole file.
 * Throws `ZO2_ERR_CHECKPOINT` naming the file and the tensor at the first rule that is broken.
 */
export function parseHeader(file: string, json: Uint8Array, fileBytes: number): SafetensorsHeader {
  const dataStart = LENGTH_BYTES + json.byteLength;
  const root = parseJson(file, json);
  const metadata: Record<string, string> = {};
  const tensors: TensorEntry[] = [];
  for (const [name, value] of Object.entries(root)) {
    if (name !== "__metadata__") {
      tensors.push(parseTensor(file, name, value, dataStart, fileBytes - dataStart));
      continue;
    }
    if (!isRecord(value)) throw broken(file, "__metadata__ is not an object of strings");
    for (const [key, text] of Object.entries(value)) {
      if (typeof text !== "string")
        throw broken(file, `__metadata__: the value of ${JSON.stringify(key)} is not a string`);
      Object.defineProperty(metadata, key, { value: text, enumerable: true });
    }
  }
  checkCoverage(file, tensors, dataStart, fileBytes);
  return { tensors, metadata };
}

function parseJson(file: string, json: Uint8Array): Record<string, unknown> {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(json);
  } catch (error) {
    throw broken(file, "the header is not UTF-8; is this a safetensors file?", error);
  }
  if (!text.startsWith("{")) throw broken(file, "the header does not start with {; is this a safetensors file?");
  let root: unknown;
  try {
    root = JSON.parse(text);
  } catch (error) {
    throw broken(file, `the header is not JSON: ${messageOf(error)}`, error);
  }
  if (!isRecord(root)) throw broken(file, "the header is not a JSON object");
  const twice = duplicateKey(text);
  if (twice !== undefined) throw broken(file, `the header has the key ${JSON.stringify(twice)} twice`);
  return root;
}

function isExtent(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function parseTensor(file: string, name: string, value: unknown, dataStart: number, dataBytes: number): TensorEntry {
  const fail = (what: string) => broken(file, `tensor ${JSON.stringify(name)}: ${what}`);
  if (!isRecord(value)) throw fail("its header entry is not an object");
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string" || !Object.hasOwn(DTYPE_BITS, dtype))
    throw fail(`unknown dtype ${JSON.stringify(dtype) ?? "(missing)"}`);
  if (!Array.isArray(shape) || !shape.every(isExtent)) throw fail("shape is not a list of integers from 0 to 2^53 - 1");
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isExtent)) {
    throw fail("data_offsets is not a pair of integers from 0 to 2^53 - 1");
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end) throw fail(`data_offsets [${begin}, ${end}] end before they begin`);
  if (end > dataBytes) {
    throw fail(
      `data_offsets [${begin}, ${end}] reach past the end of the file, which holds ${dataBytes} bytes of data; ` +
        "download it again",
    );
  }
  const bytes = tensorBytes(dtype as TensorDtype, shape);
  if (bytes === undefined)
    throw fail(`shape [${shape.join(", ")}] of ${dtype} overflows, or is no whole number of bytes`);
  if (bytes !== end - begin) {
    throw fail(
      `data_offsets [${begin}, ${end}] hold ${end - begin} bytes, but shape [${shape.join(", ")}] of ${dtype} ` +
        `needs ${bytes}`,
    );
  }
  return { name, dtype: dtype as TensorDtype, shape, file, offset: dataStart + begin, bytes };
}

/** The format wants every byte of the data to belong to exactly one tensor. */
function checkCoverage(file: string, tensors: readonly TensorEntry[], dataStart: number, fileBytes: number): void {
  const ordered = [...tensors].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let reached = dataStart;
  let before = "";
  for (const entry of ordered) {
    const name = JSON.stringify(entry.name);
    if (entry.offset < reached)
      throw broken(file, `tensor ${name}: overlaps tensor ${before} by ${reached - entry.offset} bytes`);
    if (entry.offset > reached)
      throw broken(file, `tensor ${name}: ${entry.offset - reached} bytes before it belong to no tensor`);
    reached = entry.offset + entry.bytes;
    before = name;
  }
  if (reached < fileBytes) throw broken(file, `the last ${fileBytes - reached} bytes belong to no tensor`);
}
