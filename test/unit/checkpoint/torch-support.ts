/** Files of torch.save made by hand, down to the byte: pickles from opcodes, zip archives from entries. */
import { open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { temporaryFolder } from "./support.js";

export type Pickled = Buffer | string | number | boolean | null | Pickled[] | { [key: string]: Pickled };

const le = (bytes: number, value: number | bigint) => {
  const out = Buffer.alloc(bytes);
  for (let i = 0; i < bytes; i++) out[i] = Number((BigInt(value) >> BigInt(8 * i)) & 255n);
  return out;
};

function bytesOf(part: number | string | Buffer): Buffer {
  if (typeof part === "number") return Buffer.from([part]);
  return typeof part === "string" ? Buffer.from(part, "latin1") : part;
}
export const op = (...parts: (number | string | Buffer)[]) => Buffer.concat(parts.map(bytesOf));
export const global = (module: string, name: string) => op("c", `${module}\n${name}\n`);
export const call = (callable: Buffer, ...args: Pickled[]) => op(callable, tuple(...args), "R");
export const tuple = (...items: Pickled[]) => op("(", ...items.map(value), "t");
export const list = (...items: Pickled[]) => op("](", ...items.map(value), "e");

/** The opcodes of a value; a buffer is opcodes already, an array a tuple. */
export function value(v: Pickled): Buffer {
  if (Buffer.isBuffer(v)) return v;
  if (v === null) return op("N");
  if (typeof v === "boolean") return op(v ? 0x88 : 0x89);
  if (typeof v === "string") return op("X", le(4, Buffer.byteLength(v)), Buffer.from(v));
  if (typeof v === "number")
    return Number.isInteger(v)
      ? op(0x8a, 8, le(8, BigInt(v)))
      : op("G", Buffer.from(new Float64Array([v]).buffer).reverse());
  if (Array.isArray(v)) return tuple(...v);
  return op("}(", ...Object.entries(v).flatMap(([k, x]) => [value(k), value(x)]), "u");
}

export const pickle = (v: Pickled, protocol = 2) => op(0x80, protocol, value(v), ".");

export const storage = (key: string, count: number, type = "FloatStorage") =>
  op(tuple("storage", global("torch", type), key, "cpu", count), "Q");

export interface View {
  key?: string;
  count: number;
  first?: number;
  shape: number[];
  strides: number[];
  type?: string;
  metadata?: Pickled;
}
export function tensor({ key = "0", count, first = 0, shape, strides, type, metadata }: View): Buffer {
  const hooks = call(global("collections", "OrderedDict"));
  const more = metadata === undefined ? [] : [metadata];
  return call(
    global("torch._utils", "_rebuild_tensor_v2"),
    storage(key, count, type),
    first,
    shape,
    strides,
    false,
    hooks,
    ...more,
  );
}

export interface Entry {
  name: string;
  content?: Buffer;
  /** The content is this many bytes of nothing, a hole in the file. */
  hole?: number;
  method?: number;
  flags?: number;
  crc?: number;
  /** What the directory says instead of the truth. */
  bytes?: number;
  packed?: number;
  header?: number;
  local?: { name?: string; method?: number };
}

interface Chunk {
  at: number;
  bytes: Buffer;
}
export interface ZipOptions {
  zip64?: boolean;
  comment?: string;
  entries?: number;
  offset?: number;
  directoryBytes?: number;
  disk?: number;
}

/** The parts of an archive and where they stand. With `zip64` every size and offset is in 64-bit fields. */
export function zipChunks(entries: readonly Entry[], o: ZipOptions = {}): Chunk[] {
  const chunks: Chunk[] = [];
  const central: Buffer[] = [];
  let at = 0;
  const add = (bytes: Buffer) => {
    chunks.push({ at, bytes });
    at += bytes.length;
  };
  for (const e of entries) {
    const content = e.content ?? Buffer.alloc(0);
    const size = e.hole ?? content.length;
    const crc = e.crc ?? crc32(content);
    const header = e.header ?? at;
    const name = Buffer.from(e.name);
    const local = Buffer.from(e.local?.name ?? e.name);
    const flags = le(2, e.flags ?? 0);
    const localMethod = le(2, e.local?.method ?? e.method ?? 0);
    add(
      op(
        "PK\x03\x04",
        le(2, 45),
        flags,
        localMethod,
        le(4, 0),
        le(4, crc),
        le(8, 0),
        le(2, local.length),
        le(2, 8),
        local,
        "FB",
        le(2, 4),
        "ZZZZ",
      ),
    );
    add(content);
    at += e.hole ?? 0;
    const bytes = e.bytes ?? size;
    const numbers = op(le(2, 0xabcd), le(2, 3), "xyz", le(2, 1), le(2, 24), le(8, bytes), le(8, bytes), le(8, header));
    const extra = o.zip64 === true ? numbers : Buffer.alloc(0);
    const short = (n: number) => le(4, o.zip64 === true ? 0xffffffff : n);
    const sizes = [le(4, crc), short(e.packed ?? bytes), short(bytes), le(2, name.length), le(2, extra.length)];
    central.push(
      op(
        "PK\x01\x02",
        le(4, 45),
        flags,
        le(2, e.method ?? 0),
        le(4, 0),
        ...sizes,
        le(10, 0),
        short(header),
        name,
        extra,
      ),
    );
  }
  const start = o.offset ?? at;
  add(Buffer.concat(central));
  const count = o.entries ?? entries.length;
  const bytes = o.directoryBytes ?? Buffer.concat(central).length;
  const disk = o.disk ?? 0;
  const wide = o.zip64 === true;
  if (wide) {
    const end = at;
    add(
      op(
        "PK\x06\x06",
        le(8, 44),
        le(4, 45),
        le(4, disk),
        le(4, disk),
        le(8, count),
        le(8, count),
        le(8, bytes),
        le(8, start),
      ),
    );
    add(op("PK\x06\x07", le(4, 0), le(8, end), le(4, 1)));
  }
  const comment = Buffer.from(o.comment ?? "");
  const narrow = le(2, wide ? 0xffff : count);
  const place = [le(4, wide ? 0xffffffff : bytes), le(4, wide ? 0xffffffff : start)];
  add(op("PK\x05\x06", le(2, disk), le(2, disk), narrow, narrow, ...place, le(2, comment.length), comment));
  return chunks;
}

export const zip = (entries: readonly Entry[], o: ZipOptions = {}) =>
  Buffer.concat(zipChunks(entries, o).map(({ bytes }) => bytes));

/** Entries as torch.save makes them, with this object and storage "0" of `floats` fp32 numbers 0, 1, 2, ... */
export function archive(object: Pickled, floats = 16, more: readonly Entry[] = []): Entry[] {
  return [
    { name: "archive/data.pkl", content: pickle(object) },
    { name: "archive/byteorder", content: Buffer.from("little") },
    { name: "archive/data/0", content: Buffer.from(Float32Array.from({ length: floats }, (_, i) => i).buffer) },
    ...more,
  ];
}

export async function torchFolder(content: Buffer | readonly Chunk[]): Promise<string> {
  const dir = await temporaryFolder();
  await writeFile(join(dir, "config.json"), "{}");
  const file = await open(join(dir, "pytorch_model.bin"), "w");
  for (const { at, bytes } of Buffer.isBuffer(content) ? [{ at: 0, bytes: content }] : content)
    await file.write(bytes, 0, bytes.length, at);
  await file.close();
  return dir;
}
