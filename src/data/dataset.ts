import { at } from "../base/at.js";
import { open, type FileHandle } from "node:fs/promises";
import { messageOf } from "../base/guards.js";
import { Zo2Error } from "../base/errors.js";
import { untilAborted } from "../base/until-aborted.js";
import { Check, checkAborted, type CheckOptions, type CheckResult } from "./check.js";
import { exampleParser } from "./examples.js";
import type { Example, ExampleOptions, ExampleParser } from "./example.js";
import { parseLine } from "./jsonl.js";
import { splitLines } from "./lines.js";
import { UnknownFields } from "./unknown-fields.js";

/** What messages call records that are no file. */
const RECORDS = "examples";

/** Items by index, from 0 to below `size`. */
export interface Indexed<T> {
  /** At least 1. */
  readonly size: number;
  at(index: number): Promise<T>;
}

/** Examples by index. Of a file only the place of each line is held in memory. */
export interface Dataset extends Indexed<Example>, AsyncDisposable {
  /** What messages call it: the path, or "examples". */
  readonly name: string;
  /** Example `index`, read and parsed anew. Throws `ZO2_ERR_DATA` with its line, `ZO2_ERR_IO`, `ZO2_ERR_DISPOSED`. */
  at(index: number): Promise<Example>;
  close(): Promise<void>;
}

export interface DatasetOptions extends ExampleOptions, CheckOptions {
  /** Whether every line is checked on opening, so that a bad one is found before hours of training. @default true */
  readonly check?: boolean;
  readonly maxLineBytes?: number;
}

/** The path of a JSON Lines file, or the records themselves, in the shapes that lines have. */
export type DatasetSource = string | Iterable<unknown> | AsyncIterable<unknown>;

/** A data set that was opened, and what its check has found; null where there was none. */
export interface OpenedDataset {
  readonly dataset: Dataset;
  readonly check: CheckResult | null;
}

/**
 * Looks at an example that is about to become number `index` of the data set. It counts as bad, and is none of the data
 * set, where an error about it is thrown (ZO2_ERR_DATA, ZO2_ERR_LENGTH, ZO2_ERR_TOKENIZER).
 */
export type Examine = (example: Example, index: number) => void | Promise<void>;

/**
 * Opens a data set. A file is read through once, in bounded memory; records are held. Throws `ZO2_ERR_DATA` for an
 * empty data set or for bad lines, all together (`DataError`), `ZO2_ERR_IO` for what is no regular file,
 * `ZO2_ERR_CONFIG` for a bad template, `ZO2_ERR_ABORTED`.
 */
export async function openDataset(source: DatasetSource, options: DatasetOptions = {}): Promise<Dataset> {
  return (await readDataset(source, options)).dataset;
}

/** As `openDataset`. @param examine sees every example that could be parsed, in order; not without `check`. */
export async function readDataset(
  source: DatasetSource,
  options: DatasetOptions = {},
  examine: Examine = () => undefined,
): Promise<OpenedDataset> {
  const unknown = new UnknownFields(typeof source === "string" ? source : RECORDS);
  const parser = exampleParser({ ...options, unknown });
  const parse: ExampleParser = (record, place) => {
    const example = parser(record, place);
    // Lines that are not checked on opening are seen one by one.
    if (options.check === false) unknown.warn();
    return example;
  };
  const opened = await (typeof source === "string"
    ? openFile(source, parse, options, examine)
    : collect(source, parse, options, examine));
  unknown.warn();
  return opened;
}

/** Checks a data set that is open already: what is left of it, which closes with it. */
export async function checkDataset(
  dataset: Dataset,
  options: CheckOptions,
  examine: Examine = () => undefined,
): Promise<OpenedDataset> {
  const check = new Check(dataset.name, "examples", options);
  const good: number[] = [];
  for (let i = 0; i < dataset.size; i++) {
    const where = { place: `${dataset.name}, example ${i}`, line: null, share: i / dataset.size };
    if (await check.passes(where, async () => examine(await dataset.at(i), good.length))) good.push(i);
  }
  const result = check.end();
  return { dataset: good.length === dataset.size ? dataset : new Selection(dataset, good), check: result };
}

function empty(name: string): Zo2Error {
  return new Zo2Error("ZO2_ERR_DATA", `${name}: has no example; give at least one line`);
}

function checkIndex(dataset: Dataset, index: number): void {
  if (!Number.isInteger(index) || index < 0 || index >= dataset.size) {
    throw new Zo2Error("ZO2_ERR_INVALID_ARGUMENT", `${dataset.name}: example ${index} of ${dataset.size}`);
  }
}

async function collect(
  source: Iterable<unknown> | AsyncIterable<unknown>,
  parse: ExampleParser,
  options: DatasetOptions,
  examine: Examine,
): Promise<OpenedDataset> {
  const name = RECORDS;
  const examples: Example[] = [];
  const check = new Check(name, name, options);
  const { signal } = options;
  const records = signal === undefined ? source : untilAborted(each(source), signal, "reading examples");
  let count = 0;
  for await (const record of records) {
    const place = `${name}[${count++}]`;
    // What is held has been parsed, whether it is to be checked or not.
    await check.passes({ place, line: null, share: null }, async () => {
      const example = parse(record, place);
      if (options.check ?? true) await examine(example, examples.length);
      examples.push(example);
    });
  }
  const result = check.end();
  if (examples.length === 0) throw empty(name);
  return { dataset: new HeldDataset(name, examples), check: (options.check ?? true) ? result : null };
}

async function* each(source: Iterable<unknown> | AsyncIterable<unknown>): AsyncGenerator<unknown, void, undefined> {
  yield* source;
}

/** Some examples of another data set, in its order. */
class Selection implements Dataset {
  constructor(
    private readonly whole: Dataset,
    private readonly indices: readonly number[],
  ) {}

  get name(): string {
    return this.whole.name;
  }

  get size(): number {
    return this.indices.length;
  }

  async at(index: number): Promise<Example> {
    checkIndex(this, index);
    return this.whole.at(at(this.indices, index));
  }

  close(): Promise<void> {
    return this.whole.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
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

async function openFile(
  path: string,
  parse: ExampleParser,
  options: DatasetOptions,
  examine: Examine,
): Promise<OpenedDataset> {
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
    const stat = await file.stat();
    if (!stat.isFile()) {
      throw new Zo2Error(
        "ZO2_ERR_IO",
        `${path}: not a regular file, and a data set is read more than once; save it to a file first`,
      );
    }
    const index = new LineIndex();
    const check = (options.check ?? true) ? new Check(path, "lines", options) : null;
    for await (const line of splitLines(chunks(file, path, options.signal), path, options.maxLineBytes)) {
      const { bytes, number, offset } = line;
      const place = `${path}:${number}`;
      // A file that grows while it is read is no more than whole.
      const share = Math.min(1, (offset + bytes.byteLength) / stat.size);
      const look = () => examine(parse(parseLine(bytes, place), place), index.size);
      if (check === null || (await check.passes({ place, line: number, share }, look)))
        index.add(offset, bytes.byteLength, number);
    }
    const result = check?.end() ?? null;
    if (index.size === 0) throw empty(path);
    return { dataset: new FileDataset(path, file, index, parse), check: result };
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
