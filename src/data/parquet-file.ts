import type { FileHandle } from "node:fs/promises";
import { isZo2Error, Zo2Error } from "../base/errors.js";
import { messageOf } from "../base/guards.js";
import { checkAborted } from "./check.js";
import { parseLine } from "./jsonl.js";
import { readAt } from "./line-index.js";
import type { PlacedRecord, RecordFile, ScannedRecord } from "./records.js";
import { LineSpill } from "./line-spill.js";

const MAGIC = "PAR1";
/** Rows of one group at most: a damaged number must not fill the memory. Writers make groups of a million at most. */
const MAX_GROUP_ROWS = 2 ** 26;

/** Whether a file is Parquet, or says so by its name. @throws Zo2Error ZO2_ERR_IO */
export async function isParquet(path: string, file: FileHandle): Promise<boolean> {
  const begin = new Uint8Array(MAGIC.length);
  await readAt(file, path, begin, 0, 0);
  return path.endsWith(".parquet") || Buffer.from(begin).toString("latin1") === MAGIC;
}

/** hyparquet is an ES module, which CommonJS can only load so. */
async function library() {
  const [{ parquetMetadataAsync, parquetReadObjects }, { compressors }] = await Promise.all([
    import("hyparquet"),
    import("hyparquet-compressors"),
  ]);
  return { parquetMetadataAsync, parquetReadObjects, compressors };
}

type Library = Awaited<ReturnType<typeof library>>;
type Metadata = Awaited<ReturnType<Library["parquetMetadataAsync"]>>;

/**
 * Parquet. One row group at a time is in memory while the file is read through; rows by index come from a copy in JSON
 * Lines among the temporary files, since a row alone cannot be had of a group. Integers beyond 2^53 are texts of their
 * digits, dates texts in ISO 8601, and bytes that are no text are in base64.
 */
export class ParquetFile implements RecordFile {
  readonly unit = "rows";
  private closed: Promise<void> | undefined;

  private constructor(
    readonly name: string,
    private readonly file: FileHandle,
    private readonly source: { readonly byteLength: number; slice(start: number, end?: number): Promise<ArrayBuffer> },
    private readonly metadata: Metadata,
    private readonly library: Library,
    private readonly spill: LineSpill,
  ) {}

  /** @throws Zo2Error ZO2_ERR_DATA for a file that is no Parquet, or damaged */
  static async open(name: string, file: FileHandle, bytes: number): Promise<ParquetFile> {
    const source = {
      byteLength: bytes,
      slice(start: number, end = bytes): Promise<ArrayBuffer> {
        const slice = readSlice(name, file, start, Math.min(end, bytes));
        // The library waits for the slices of a group by turns; one that fails meanwhile must not count as unhandled.
        slice.catch(() => undefined);
        return slice;
      },
    };
    const loaded = await library();
    const metadata = await decoding(name, async () => checked(await loaded.parquetMetadataAsync(source), bytes));
    return new ParquetFile(name, file, source, metadata, loaded, await LineSpill.create(name));
  }

  get size(): number {
    return this.spill.size;
  }

  async *scan(signal: AbortSignal | undefined): AsyncGenerator<ScannedRecord, void, undefined> {
    const total = Number(this.metadata.num_rows);
    let number = 0;
    for (const [group, { num_rows }] of this.metadata.row_groups.entries()) {
      checkAborted(this.name, signal);
      const end = number + Number(num_rows);
      const rows = await this.group(group, number, end);
      for (const row of rows) {
        const line = Buffer.from(`${JSON.stringify(row, plain)}\n`);
        const own = number++;
        const place = this.place(own);
        yield {
          place,
          line: null,
          share: number / total,
          record: () => parseLine(line, place),
          keep: () => this.spill.add(line, own),
        };
        if (this.spill.due) await this.spill.flush();
      }
    }
    await this.spill.flush();
  }

  async at(index: number): Promise<PlacedRecord> {
    if (this.closed !== undefined) throw new Zo2Error("ZO2_ERR_DISPOSED", `data set ${this.name}: read after close`);
    const place = this.place(this.spill.number(index));
    return { record: parseLine(await this.spill.read(index, place), place), place };
  }

  close(): Promise<void> {
    this.closed ??= Promise.all([this.file.close(), this.spill.close()]).then(() => undefined);
    return this.closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private place(row: number): string {
    return `${this.name}, row ${row}`;
  }

  private group(group: number, rowStart: number, rowEnd: number): Promise<Record<string, unknown>[]> {
    const { parquetReadObjects, compressors } = this.library;
    const { metadata, source: file } = this;
    if (rowEnd === rowStart) return Promise.resolve([]);
    return decoding(`${this.name}, row group ${group}`, () =>
      parquetReadObjects({ file, metadata, rowStart, rowEnd, compressors }),
    );
  }
}

async function readSlice(name: string, file: FileHandle, start: number, end: number): Promise<ArrayBuffer> {
  const into = new Uint8Array(end - start);
  for (let done = 0; done < into.byteLength; ) {
    const bytesRead = await readAt(file, name, into, done, start + done);
    if (bytesRead === 0) throw new Zo2Error("ZO2_ERR_IO", `${name}: the file has become shorter since it was opened`);
    done += bytesRead;
  }
  return into.buffer;
}

/** Runs a decoder; what it throws is about the file. */
async function decoding<T>(where: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (isZo2Error(error)) throw error;
    throw new Zo2Error("ZO2_ERR_DATA", `${where}: cannot be read as Parquet: ${messageOf(error)}; is the file whole?`, {
      cause: error,
    });
  }
}

/** Before anything is allocated by these numbers. */
function checked(metadata: Metadata, bytes: number): Metadata {
  let rows = 0;
  for (const [group, { num_rows, columns }] of metadata.row_groups.entries()) {
    const count = Number(num_rows);
    const values = columns.map(({ meta_data }) => Number(meta_data?.num_values ?? 0));
    if (!(count >= 0 && count <= MAX_GROUP_ROWS) || values.some((own) => own < count || own > 2 ** 31))
      throw new Error(`row group ${group} claims ${count} rows, with columns of ${values.join(", ")} values`);
    for (const [column, { meta_data }] of columns.entries()) {
      const begin = Number(meta_data?.dictionary_page_offset || meta_data?.data_page_offset);
      const end = begin + Number(meta_data?.total_compressed_size);
      if (!(begin >= 0 && end >= begin && end <= bytes))
        throw new Error(`column ${column} of row group ${group} claims the bytes ${begin} to ${end} of ${bytes}`);
    }
    rows += count;
  }
  if (rows !== Number(metadata.num_rows))
    throw new Error(`it claims ${metadata.num_rows} rows, and its row groups have ${rows}`);
  return metadata;
}

/** A value of a row as JSON has it. */
function plain(_: string, value: unknown): unknown {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  return value === undefined ? null : value;
}
