/** Valid safetensors files to start from, and mutations that keep the length in front right. */
import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { splice } from "./bytes.mjs";

const SMALL = 4096;

export const SAFETENSORS_WORDS = [
  "dtype",
  "shape",
  "data_offsets",
  "__metadata__",
  "format",
  "pt",
  "F32",
  "F16",
  "BF16",
  "I64",
  "I32",
  "U8",
  "BOOL",
  "F64",
  "F8_E4M3",
  "F8_E5M2",
  "F4",
  "C64",
  "[0,0]",
  "[1]",
  "[]",
  ":",
  ",",
  "{",
  "}",
  '"',
  "9007199254740993",
  "1e3",
  "-0",
];

/** @param {readonly {name: string, dtype: string, shape: number[], bytes: number}[]} tensors */
export function makeSafetensors(tensors, metadata = undefined) {
  const header = metadata === undefined ? {} : { __metadata__: metadata };
  let offset = 0;
  for (const { name, dtype, shape, bytes } of tensors) {
    header[name] = { dtype, shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, Buffer.alloc(offset, 7)]);
}

export const TWO_TENSORS = [
  { name: "model.decoder.embed_tokens.weight", dtype: "F32", shape: [4, 3], bytes: 48 },
  { name: "lm_head.weight", dtype: "BF16", shape: [2, 2], bytes: 8 },
];

/** Small files of the fixtures, and a few made here. */
export function* smallSafetensors(root) {
  const bins = path.join(root, "test", "fixtures", "bins");
  for (const name of readdirSync(bins)
    .filter((file) => file.endsWith(".safetensors"))
    .sort()) {
    const bytes = readFileSync(path.join(bins, name));
    if (bytes.length <= SMALL) yield bytes;
  }
  yield makeSafetensors(TWO_TENSORS, { format: "pt" });
  yield makeSafetensors([
    { name: "", dtype: "F64", shape: [], bytes: 8 },
    { name: "none", dtype: "I8", shape: [3, 0], bytes: 0 },
  ]);
  yield makeSafetensors([
    { name: "q", dtype: "F4", shape: [2, 4], bytes: 4 },
    { name: "s", dtype: "F8_E8M0", shape: [5], bytes: 5 },
  ]);
}

/**
 * The JSON part changed by `mutateHeader`, the length in front as it must be; undefined where the input is no such
 * file, or by chance.
 */
export function mutateSafetensors(bytes, random, { dictionary }, mutateHeader) {
  if (bytes.length < 10 || random.chance(0.25)) return undefined;
  const length = Number(bytes.readBigUInt64LE(0));
  if (length > bytes.length - 8) return undefined;
  const json = mutateHeader(bytes.subarray(8, 8 + length), random, dictionary);
  if (json === undefined) return undefined;
  const mutated = splice(bytes, 8, length, json);
  mutated.writeBigUInt64LE(BigInt(json.length));
  return mutated;
}
