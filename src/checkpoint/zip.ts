/**
 * The directory of a zip archive whose entries are stored as they are, as PyTorch writes them. Nothing in it is
 * believed before it is checked against the file's size; no entry's content is read here.
 */
import { broken, type FileSource } from "./source.js";

export interface ZipEntry {
  readonly name: string;
  /** Of the content, in bytes. */
  readonly bytes: number;
  readonly crc32: number;
  /** Of the local header, from the start of the file. */
  readonly header: number;
  /** Where the next entry, or the directory, begins: the content ends before. */
  readonly limit: number;
}

const END = 0x06054b50;
const END_BYTES = 22;
const LOCATOR64 = 0x07064b50;
const LOCATOR64_BYTES = 20;
const END64 = 0x06064b50;
const END64_BYTES = 56;
const CENTRAL = 0x02014b50;
const CENTRAL_BYTES = 46;
const LOCAL = 0x04034b50;
const LOCAL_BYTES = 30;
const MAX_COMMENT = 0xffff;
const MANY16 = 0xffff;
const MANY32 = 0xffffffff;
const ZIP64_FIELD = 1;
/** Flag bits 0 and 6 (encryption), 13 (masked headers). */
const ENCRYPTED = 0x2041;

/** More than any checkpoint has; bounds the memory that a directory may ask for. */
const MAX_ENTRIES = 2 ** 18;
const MAX_DIRECTORY_BYTES = 64 * 2 ** 20;

interface Directory {
  readonly entries: number;
  readonly bytes: number;
  readonly offset: number;
}

/** Whether a file that begins with `head` is a zip archive. */
export function isZip(head: Uint8Array): boolean {
  return head.byteLength >= 4 && viewOf(head).getUint32(0, true) === LOCAL;
}

/**
 * The entries of the archive by name. Throws `ZO2_ERR_CHECKPOINT` when the directory is damaged, an entry is compressed
 * or encrypted, two have one name, or two overlap.
 */
export async function readZip(file: FileSource): Promise<ReadonlyMap<string, ZipEntry>> {
  const directory = await findDirectory(file);
  const bytes = new Uint8Array(directory.bytes);
  await file.read(directory.offset, bytes);
  const found = parseDirectory(file.path, bytes, directory);
  found.sort((a, b) => a.header - b.header);
  const entries = new Map<string, ZipEntry>();
  for (const [i, entry] of found.entries()) {
    const name = JSON.stringify(entry.name);
    const limit = found[i + 1]?.header ?? directory.offset;
    // The local header repeats the name; its other field may be longer than the directory's, never shorter than
    // nothing.
    if (entry.header + LOCAL_BYTES + entry.nameBytes + entry.bytes > limit) {
      throw broken(
        file.path,
        `entry ${name}: its ${entry.bytes} bytes reach past byte ${limit}, where what follows begins; download ` +
          "the file again",
      );
    }
    if (entries.has(entry.name)) throw broken(file.path, `entry ${name} is there twice`);
    entries.set(entry.name, { name: entry.name, bytes: entry.bytes, crc32: entry.crc32, header: entry.header, limit });
  }
  return entries;
}

/**
 * Where the content of `entry` begins, from its local header. Throws `ZO2_ERR_CHECKPOINT` when that contradicts the
 * directory.
 */
export async function contentOffset(file: FileSource, entry: ZipEntry): Promise<number> {
  const fail = (what: string) =>
    broken(file.path, `entry ${JSON.stringify(entry.name)}: ${what}; download the file again`);
  const head = new Uint8Array(LOCAL_BYTES);
  await file.read(entry.header, head);
  const view = viewOf(head);
  if (view.getUint32(0, true) !== LOCAL) throw fail(`no local header at byte ${entry.header}`);
  if (view.getUint16(8, true) !== 0)
    throw fail("its local header says that it is compressed, the directory that it is not");
  const name = new Uint8Array(view.getUint16(26, true));
  const offset = entry.header + LOCAL_BYTES + name.byteLength + view.getUint16(28, true);
  if (offset + entry.bytes > entry.limit) {
    throw fail(
      `its ${entry.bytes} bytes from byte ${offset} reach past byte ${entry.limit}, where what follows begins`,
    );
  }
  await file.read(entry.header + LOCAL_BYTES, name);
  if (nameOf(name) !== entry.name) throw fail(`its local header calls it ${JSON.stringify(nameOf(name))}`);
  return offset;
}

async function findDirectory(file: FileSource): Promise<Directory> {
  const tail = new Uint8Array(Math.min(file.bytes, END_BYTES + MAX_COMMENT + LOCATOR64_BYTES));
  const tailStart = file.bytes - tail.byteLength;
  await file.read(tailStart, tail);
  const view = viewOf(tail);
  let at = tail.byteLength - END_BYTES;
  while (
    at >= 0 &&
    !(view.getUint32(at, true) === END && at + END_BYTES + view.getUint16(at + 20, true) === tail.byteLength)
  )
    at--;
  if (at < 0)
    throw broken(
      file.path,
      `the ${file.bytes} bytes do not end with a zip directory: the file is truncated; download it again`,
    );
  const end = tailStart + at;
  const directory =
    at >= LOCATOR64_BYTES && view.getUint32(at - LOCATOR64_BYTES, true) === LOCATOR64
      ? await readEnd64(file, new DataView(tail.buffer, at - LOCATOR64_BYTES, LOCATOR64_BYTES), end - LOCATOR64_BYTES)
      : parseEnd(file.path, new DataView(tail.buffer, at, END_BYTES), end);
  if (directory.entries > MAX_ENTRIES || directory.bytes > MAX_DIRECTORY_BYTES) {
    throw broken(
      file.path,
      `a zip directory of ${directory.entries} entries in ${directory.bytes} bytes is more than a checkpoint ` +
        `has (${MAX_ENTRIES})`,
    );
  }
  return directory;
}

function parseEnd(path: string, view: DataView, end: number): Directory {
  const [disk, first, here, entries] = [4, 6, 8, 10].map((offset) => view.getUint16(offset, true)) as [
    number,
    number,
    number,
    number,
  ];
  const bytes = view.getUint32(12, true);
  const offset = view.getUint32(16, true);
  if (disk !== 0 || first !== 0 || here !== entries)
    throw broken(path, "a zip archive in several volumes cannot be read; put it together first");
  if (entries === MANY16 || bytes === MANY32 || offset === MANY32) {
    throw broken(path, "its zip directory has no zip64 part, though it needs one; download it again");
  }
  return checkDirectory(path, { entries, bytes, offset }, end);
}

async function readEnd64(file: FileSource, locator: DataView, locatorOffset: number): Promise<Directory> {
  const offset = wide(locator, 8);
  if (offset === undefined || offset + END64_BYTES > locatorOffset) {
    throw broken(file.path, "its zip64 directory end lies outside the file; download it again");
  }
  const record = new Uint8Array(END64_BYTES);
  await file.read(offset, record);
  const view = viewOf(record);
  if (view.getUint32(0, true) !== END64)
    throw broken(file.path, `no zip64 directory end at byte ${offset}; download it again`);
  const [here, entries, bytes, start] = [24, 32, 40, 48].map((at) => wide(view, at));
  // PyTorch's writer counts one volume in the locator, and none elsewhere.
  if (view.getUint32(16, true) !== 0 || view.getUint32(20, true) !== 0 || here !== entries) {
    throw broken(file.path, "a zip archive in several volumes cannot be read; put it together first");
  }
  if (entries === undefined || bytes === undefined || start === undefined) {
    throw broken(file.path, "its zip directory has numbers past 2^53; download it again");
  }
  return checkDirectory(file.path, { entries, bytes, offset: start }, offset);
}

function checkDirectory(path: string, directory: Directory, end: number): Directory {
  const { entries, bytes, offset } = directory;
  if (offset + bytes > end) {
    throw broken(
      path,
      `its zip directory, ${bytes} bytes from byte ${offset}, reaches past byte ${end}, where it should end; ` +
        "download it again",
    );
  }
  if (entries * CENTRAL_BYTES > bytes)
    throw broken(path, `its zip directory of ${bytes} bytes cannot hold ${entries} entries; download it again`);
  return directory;
}

interface CentralEntry {
  readonly name: string;
  readonly nameBytes: number;
  readonly bytes: number;
  readonly crc32: number;
  readonly header: number;
}

function parseDirectory(path: string, directory: Uint8Array, expected: Directory): CentralEntry[] {
  const view = viewOf(directory);
  const entries: CentralEntry[] = [];
  let at = 0;
  while (entries.length < expected.entries) {
    if (at + CENTRAL_BYTES > directory.byteLength || view.getUint32(at, true) !== CENTRAL) {
      throw broken(
        path,
        `its zip directory breaks off at entry ${entries.length} of ${expected.entries}; download it again`,
      );
    }
    const nameBytes = view.getUint16(at + 28, true);
    const extraBytes = view.getUint16(at + 30, true);
    const next = at + CENTRAL_BYTES + nameBytes + extraBytes + view.getUint16(at + 32, true);
    if (next > directory.byteLength) {
      throw broken(
        path,
        `its zip directory breaks off at entry ${entries.length} of ${expected.entries}; download it again`,
      );
    }
    const extra = at + CENTRAL_BYTES + nameBytes;
    const name = nameOf(directory.subarray(at + CENTRAL_BYTES, extra));
    const numbers = parseCentral(
      path,
      name,
      viewOf(directory.subarray(at, extra)),
      viewOf(directory.subarray(extra, extra + extraBytes)),
    );
    entries.push({ name, nameBytes, ...numbers });
    at = next;
  }
  return entries;
}

function parseCentral(
  path: string,
  name: string,
  central: DataView,
  extra: DataView,
): Omit<CentralEntry, "name" | "nameBytes"> {
  const fail = (what: string) => broken(path, `entry ${JSON.stringify(name)}: ${what}`);
  if ((central.getUint16(8, true) & ENCRYPTED) !== 0) throw fail("it is encrypted, which cannot be read");
  const method = central.getUint16(10, true);
  if (method !== 0) {
    throw fail(
      `it is compressed (method ${method}); PyTorch stores entries as they are, and only that can be read: ` +
        "save the file again with torch.save",
    );
  }
  const packed = central.getUint32(20, true);
  const content = central.getUint32(24, true);
  const start = central.getUint32(42, true);
  // The zip64 field holds, in this order, only the numbers that do not fit in 32 bits.
  const wanted = [content, packed, start].filter((n) => n === MANY32).length;
  const numbers = wanted === 0 ? [] : zip64Numbers(extra, wanted);
  if (numbers === undefined) throw fail("its zip64 sizes are missing or past 2^53; download the file again");
  const take = (n: number) => (n === MANY32 ? (numbers.shift() ?? n) : n);
  const bytes = take(content);
  if (take(packed) !== bytes)
    throw fail("its packed and unpacked sizes differ though it is not compressed; download the file again");
  return { bytes, crc32: central.getUint32(16, true), header: take(start) };
}

function zip64Numbers(extra: DataView, wanted: number): number[] | undefined {
  for (let at = 0; at + 4 <= extra.byteLength; ) {
    const bytes = extra.getUint16(at + 2, true);
    if (extra.getUint16(at, true) === ZIP64_FIELD) {
      if (bytes < wanted * 8 || at + 4 + bytes > extra.byteLength) return undefined;
      const numbers = Array.from({ length: wanted }, (_, i) => wide(extra, at + 4 + i * 8));
      return numbers.every((n) => n !== undefined) ? numbers : undefined;
    }
    at += 4 + bytes;
  }
  return undefined;
}

/** A 64-bit count, or undefined past 2^53 - 1. */
function wide(view: DataView, at: number): number | undefined {
  const value = view.getBigUint64(at, true);
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : undefined;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Names are only compared: what is not UTF-8 may become any text. */
function nameOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
