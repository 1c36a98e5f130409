import { at } from "../base/at.js";
import { open, type FileHandle } from "node:fs/promises";
import { messageOf } from "../base/guards.js";
import { Zo2Error } from "../base/errors.js";
import { exampleParser } from "./examples.js";
import type { Example, ExampleOptions, ExampleParser } from "./example.js";
import { parseLine } from "./jsonl.js";
import { splitLines } from "./lines.js";

/** Examples by index. Of a file only the place of each line is held in memory. */
export interface Dataset extends AsyncDisposable {
  /** At least 1. */
  readonly size: number;
  /** What messages call it: the path, or "examples". */
  readonly name: string;
  /** Example `index`, read and parsed anew. Throws `ZO2_ERR_DATA` with its line, `ZO2_ERR_IO`, `ZO2_ERR_DISPOSED`. */
  at(index: number): Promise<Example>;
  close(): Promise<void>;
}

export interface DatasetOptions extends ExampleOptions {
  /** Whether every line is checked on opening, so that a bad one is found before hours of training. @default true */
  readonly check?: boolean;
  readonly maxLineBytes?: number;
  readonly signal?: AbortSignal;
}

/** The path of a JSON Lines file, or the records themselves, in the shapes that lines have. */
export type DatasetSource = string | Iterable<unknown> | AsyncIterable<unknown>;

/**
 * Opens a data set. A file is read through once, in bounded memory; records are held. Throws `ZO2_ERR_DATA` for an
 * empty data set or a bad line (with its number), `ZO2_ERR_IO` for what is no regular file, `ZO2_ERR_CONFIG` for a bad
 * template.
 */
export async function openDataset(source: DatasetSource, options: DatasetOptions = {}): Promise<Dataset> {
  const parse = exampleParser(options);
  return typeof source === "string" ? openFile(source, parse, options) : collect(source, parse, options);
}

function empty(name: string): Zo2Error {
  return new Zo2Error("ZO2_ERR_DATA", `${name}: has no example; give at least one line`);
}

function checkIndex(dataset: Dataset, index: number): void {
  if (!Number.isInteger(index) || index < 0 || index >= dataset.size) {
    throw new Zo2Error("ZO2_ERR_INVALID_ARGUMENT", `${dataset.name}: example ${index} of ${dataset.size}`);
  }
}

function checkAborted(name: string, signal: AbortSignal | undefined): void {
  if (signal?.aborted === true)
    throw new Zo2Error("ZO2_ERR_ABORTED", `${name}: reading was stopped`, { cause: signal.reason });
}

async function collect(
  source: Iterable<unknown> | AsyncIterable<unknown>,
  parse: ExampleParser,
  options: DatasetOptions,
): Promise<Dataset> {
  const name = "examples";
  const examples: Example[] = [];
  for await (const record of source) {
    checkAborted(name, options.signal);
    examples.push(parse(record, `${name}[${examples.length}]`));
  }
  if (examples.length === 0) throw empty(name);
  return new HeldDataset(name, examples);
}

class HeldDataset implements Dataset {
  constructor(
    readonly name: string,
    private readonly examples: readonly Example[],
  ) {}

  get size(): number {
    return this.examples.length;
  }

  async at(index: number): Promise<Example> {
    checkIndex(this, index);
    return this.examples[index] as Example;
  }

  async close(): Promise<void> {}

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Where each line is: 16 bytes per line, in arrays that double. */
class LineIndex {
  size = 0;
  private offsets = new Float64Array(1024);
  private lengths = new Uint32Array(1024);
  private numbers = new Uint32Array(1024);

  add(offset: number, length: number, number: number): void {
    if (this.size === this.offsets.length) {
      this.offsets = grown(this.offsets, new Float64Array(this.size * 2));
      this.lengths = grown(this.lengths, new Uint32Array(this.size * 2));
      this.numbers = grown(this.numbers, new Uint32Array(this.size * 2));
    }
    this.offsets[this.size] = offset;
    this.lengths[this.size] = length;
    this.numbers[this.size] = number;
    this.size++;
  }

  at(index: number): { offset: number; length: number; number: number } {
    return { offset: at(this.offsets, index), length: at(this.lengths, index), number: at(this.numbers, index) };
  }
}

function grown<T extends Float64Array | Uint32Array>(from: T, to: T): T {
  to.set(from);
  return to;
}

async function openFile(path: string, parse: ExampleParser, options: DatasetOptions): Promise<Dataset> {
  if (path === "-")
    throw new Zo2Error(
      "ZO2_ERR_IO",
      "standard input can be read only once, and a data set is read in every epoch; save it to a file first",
    );
  let file: FileHandle;
  try {
    file = await open(path, "r");
  } catch (error) {
    throw new Zo2Error("ZO2_ERR_IO", `${path}: cannot be read: ${messageOf(error)}`, { cause: error });
  }
  try {
    if (!(await file.stat()).isFile()) {
      throw new Zo2Error(
        "ZO2_ERR_IO",
        `${path}: not a regular file, and a data set is read more than once; save it to a file first`,
      );
    }
    const index = new LineIndex();
    for await (const line of splitLines(chunks(file, path, options.signal), path, options.maxLineBytes)) {
      if (options.check ?? true) parse(parseLine(line.bytes, `${path}:${line.number}`), `${path}:${line.number}`);
      index.add(line.offset, line.bytes.byteLength, line.number);
    }
    if (index.size === 0) throw empty(path);
    return new FileDataset(path, file, index, parse);
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function* chunks(
  file: FileHandle,
  path: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  const chunk = new Uint8Array(1 << 20);
  for (let position = 0; ; ) {
    checkAborted(path, signal);
    const bytesRead = await readAt(file, path, chunk, 0, position);
    if (bytesRead === 0) return;
    yield chunk.subarray(0, bytesRead);
    position += bytesRead;
  }
}

async function readAt(
  file: FileHandle,
  path: string,
  into: Uint8Array,
  from: number,
  position: number,
): Promise<number> {
  try {
    return (await file.read(into, from, into.byteLength - from, position)).bytesRead;
  } catch (error) {
    throw new Zo2Error("ZO2_ERR_IO", `${path}: cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

class FileDataset implements Dataset {
  private closed: Promise<void> | undefined;

  constructor(
    readonly name: string,
    private readonly file: FileHandle,
    private readonly index: LineIndex,
    private readonly parse: ExampleParser,
  ) {}

  get size(): number {
    return this.index.size;
  }

  async at(index: number): Promise<Example> {
    if (this.closed !== undefined) throw new Zo2Error("ZO2_ERR_DISPOSED", `data set ${this.name}: read after close`);
    checkIndex(this, index);
    const { offset, length, number } = this.index.at(index);
    const place = `${this.name}:${number}`;
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const bytesRead = await readAt(this.file, this.name, bytes, done, offset + done);
      if (bytesRead === 0)
        throw new Zo2Error("ZO2_ERR_IO", `${place}: the file has become shorter since it was opened`);
      done += bytesRead;
    }
    return this.parse(parseLine(bytes, place), place);
  }

  close(): Promise<void> {
    this.closed ??= this.file.close();
    return this.closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
