/** Model folders changed tensor by tensor, written without the code under test. */
import fs from "node:fs";
import path from "node:path";

export interface StoredTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Buffer;
}
export type Tensors = Map<string, StoredTensor>;

/** All tensors of a folder's safetensors files. */
export function readTensorFiles(dir: string): Tensors {
  const tensors: Tensors = new Map();
  for (const file of fs.readdirSync(dir).filter((name) => /^model.*\.safetensors$/.test(name))) {
    const content = fs.readFileSync(path.join(dir, file));
    const length = Number(content.readBigUInt64LE(0));
    const { __metadata__: _, ...entries } = JSON.parse(content.subarray(8, 8 + length).toString("utf8"));
    const data = content.subarray(8 + length);
    for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries<{
      dtype: string;
      shape: number[];
      data_offsets: [number, number];
    }>(entries))
      tensors.set(name, { dtype, shape, bytes: Buffer.from(data.subarray(...offsets)) });
  }
  return tensors;
}

export function safetensorsBytes(tensors: Tensors): Buffer {
  const header: Record<string, unknown> = {};
  let end = 0;
  for (const [name, { dtype, shape, bytes }] of tensors) {
    header[name] = { dtype, shape, data_offsets: [end, end + bytes.length] };
    end += bytes.length;
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, ...[...tensors.values()].map(({ bytes }) => bytes)]);
}

export function readConfig(dir: string): Record<string, unknown> {
  return JSON.parse(fs.readFileSync(path.join(dir, "config.json"), "utf8"));
}

/** A folder with these tensors in one file. */
export function writeModelFolder(dir: string, config: object, tensors: Tensors): string {
  fs.mkdirSync(dir, { recursive: true });
  fs.writeFileSync(path.join(dir, "config.json"), JSON.stringify(config));
  fs.writeFileSync(path.join(dir, "model.safetensors"), safetensorsBytes(tensors));
  return dir;
}

/** Two shards, the tensors in turn, with an index of `weightMap`, or of what they hold. */
export function writeShardedFolder(
  dir: string,
  config: object,
  tensors: Tensors,
  change: (map: Record<string, string>) => void = () => undefined,
): string {
  fs.mkdirSync(dir, { recursive: true });
  const map: Record<string, string> = {};
  for (const part of [0, 1]) {
    const file = `model-0000${part + 1}-of-00002.safetensors`;
    const own = new Map([...tensors].filter((_, i) => i % 2 === part));
    for (const name of own.keys()) map[name] = file;
    fs.writeFileSync(path.join(dir, file), safetensorsBytes(own));
  }
  change(map);
  fs.writeFileSync(path.join(dir, "config.json"), JSON.stringify(config));
  fs.writeFileSync(path.join(dir, "model.safetensors.index.json"), JSON.stringify({ weight_map: map }));
  return dir;
}

/** The bf16 numbers nearest below in magnitude. */
export function asBf16({ shape, bytes }: StoredTensor): StoredTensor {
  const out = Buffer.alloc(bytes.length / 2);
  for (let i = 0; i < out.length; i += 2) out.writeUInt16LE(bytes.readUInt16LE(2 * i + 2), i);
  return { dtype: "BF16", shape, bytes: out };
}

/** The same numbers in fp32. */
export function bf16AsFp32({ shape, bytes }: StoredTensor): StoredTensor {
  const out = Buffer.alloc(bytes.length * 2);
  for (let i = 0; i < bytes.length; i += 2) out.writeUInt16LE(bytes.readUInt16LE(i), 2 * i + 2);
  return { dtype: "F32", shape, bytes: out };
}

export function fp16AsFp32({ shape, bytes }: StoredTensor): StoredTensor {
  const out = Buffer.alloc(bytes.length * 2);
  for (let i = 0; i < bytes.length; i += 2) {
    const h = bytes.readUInt16LE(i);
    const exponent = (h >> 10) & 31;
    const magnitude = exponent === 0 ? (h & 1023) * 2 ** -24 : (1 + (h & 1023) / 1024) * 2 ** (exponent - 15);
    out.writeFloatLE(h >> 15 ? -magnitude : magnitude, 2 * i);
  }
  return { dtype: "F32", shape, bytes: out };
}
