/**
 * Zip archives of stored entries: taken apart, changed, and put together with sizes, offsets and checksums that fit.
 */
import { crc32 } from "node:zlib";
import { interestingInteger, mutateBytes } from "./bytes.mjs";
import { mutatePickle } from "./pickle.mjs";

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const END64 = 0x06064b50;
const LOCATOR64 = 0x07064b50;

/**
 * Entries `{name, offset, bytes}` in the order of the directory; none where the archive is not one of stored entries.
 */
export function zipEntries(bytes) {
  const entries = [];
  const end = bytes.lastIndexOf(Buffer.from([0x50, 0x4b, 5, 6]));
  if (end < 0 || end + 22 > bytes.length) return entries;
  let at = bytes.readUInt32LE(end + 16);
  for (let left = bytes.readUInt16LE(end + 10); left > 0; left--) {
    if (at + 46 > bytes.length || bytes.readUInt32LE(at) !== CENTRAL) break;
    const size = bytes.readUInt32LE(at + 20);
    const nameLength = bytes.readUInt16LE(at + 28);
    const name = bytes.subarray(at + 46, at + 46 + nameLength);
    const local = bytes.readUInt32LE(at + 42);
    if (local + 30 <= bytes.length) {
      const data = local + 30 + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28);
      entries.push({ name, offset: data, bytes: bytes.subarray(data, data + size) });
    }
    at += 46 + nameLength + bytes.readUInt16LE(at + 30) + bytes.readUInt16LE(at + 32);
  }
  return entries;
}

/**
 * From where to where each entry's data lies; undefined where the file is no archive, or sizes or offsets stand in
 * zip64 fields.
 */
export function entryRanges(bytes) {
  if (bytes.length < 4 || bytes.readUInt32LE(0) !== LOCAL) return undefined;
  const wide = [LOCATOR64, END64].some((signature) => bytes.includes(Buffer.from(new Uint32Array([signature]).buffer)));
  return wide ? undefined : zipEntries(bytes).map(({ offset, bytes: data }) => [offset, offset + data.length]);
}

function header(signature, fields) {
  const parts = [Buffer.alloc(4)];
  parts[0].writeUInt32LE(signature);
  for (const [width, value] of fields) {
    const field = Buffer.alloc(8);
    field.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)));
    parts.push(field.subarray(0, width));
  }
  return Buffer.concat(parts);
}

/** An archive of stored entries. With `wide`, sizes and offsets stand in zip64 fields. */
export function writeZip(entries, { wide = false } = {}) {
  const locals = [];
  const centrals = [];
  let offset = 0;
  for (const { name, bytes } of entries) {
    const size = bytes.length;
    const shared = [
      [2, 0],
      [2, 0],
      [2, 0],
      [2, 0],
      [4, crc32(bytes)],
    ];
    const local = header(LOCAL, [[2, 45], ...shared, [4, size], [4, size], [2, name.length], [2, 0]]);
    const extra = wide
      ? Buffer.concat([
          header(0x00180001, [
            [8, size],
            [8, size],
            [8, offset],
          ]),
        ])
      : Buffer.alloc(0);
    const narrow = (value) => (wide ? 0xffffffff : value);
    const fields = [
      [2, 45],
      [2, 45],
      ...shared,
      [4, narrow(size)],
      [4, narrow(size)],
      [2, name.length],
      [2, extra.length],
    ];
    centrals.push(header(CENTRAL, [...fields, [2, 0], [2, 0], [2, 0], [4, 0], [4, narrow(offset)]]), name, extra);
    locals.push(local, name, bytes);
    offset += local.length + name.length + size;
  }
  const central = Buffer.concat(centrals);
  const n = entries.length;
  const tail = [];
  if (wide) {
    tail.push(
      header(END64, [
        [8, 44],
        [2, 45],
        [2, 45],
        [4, 0],
        [4, 0],
        [8, n],
        [8, n],
        [8, central.length],
        [8, offset],
      ]),
    );
    tail.push(
      header(LOCATOR64, [
        [4, 0],
        [8, offset + central.length],
        [4, 1],
      ]),
    );
  }
  const narrow = (value, all) => (wide ? all : value);
  const end = [
    [2, 0],
    [2, 0],
    [2, narrow(n, 0xffff)],
    [2, narrow(n, 0xffff)],
    [4, narrow(central.length, 0xffffffff)],
    [4, narrow(offset, 0xffffffff)],
    [2, 0],
  ];
  return Buffer.concat([...locals, central, ...tail, header(END, end)]);
}

function mutateEntries(entries, random, context) {
  const at = random.below(entries.length);
  const entry = entries[at];
  const isPickle = entry.name.toString("latin1").endsWith(".pkl");
  const choice = random.below(12);
  if (choice === 0) entries.splice(at, 1);
  else if (choice === 1) entries.splice(at, 0, random.pick(entries));
  else if (choice === 2) entries[at] = { ...entry, name: mutateBytes(entry.name, random, context) };
  else if (choice === 3) entries[at] = { ...entry, bytes: mutateBytes(entry.bytes, random, context) };
  else if (isPickle || choice > 4) {
    const pickle = entries.findIndex(({ name }) => name.toString("latin1").endsWith(".pkl"));
    if (pickle >= 0)
      entries[pickle] = { ...entries[pickle], bytes: mutatePickle(entries[pickle].bytes, random, context) };
  } else entries[at] = { ...entry, bytes: entry.bytes.subarray(0, random.below(entry.bytes.length + 1)) };
}

/** A number in the directory at the end of the archive gets another value. */
function mutateDirectory(bytes, random) {
  const copy = Buffer.from(bytes);
  const start = Math.max(0, copy.length - 22 - random.below(2) * 400);
  const width = Math.min(random.pick([2, 4, 8]), copy.length);
  const at = Math.min(copy.length - width, start + random.below(copy.length - start));
  const value = Buffer.alloc(8);
  value.writeBigUInt64LE(
    BigInt.asUintN(64, random.chance(0.5) ? interestingInteger(random) : BigInt(random.below(copy.length + 2))),
  );
  value.copy(copy, at, 0, width);
  return copy;
}

/** @returns {Buffer} */
export function mutateZip(bytes, random, context) {
  if (bytes.length === 0 || random.chance(0.15)) return mutateBytes(bytes, random, context);
  if (random.chance(0.2)) return mutateDirectory(bytes, random);
  const entries = zipEntries(bytes);
  if (entries.length === 0) return mutatePickle(bytes, random, context);
  mutateEntries(entries, random, context);
  return writeZip(entries, { wide: random.chance(0.2) });
}
