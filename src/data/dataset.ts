import { at } from "../base/at.js";
import { Zo2Error } from "../base/errors.js";
import { untilAborted } from "../base/until-aborted.js";
import { Check, type CheckOptions, type CheckResult } from "./check.js";
import { exampleParser } from "./examples.js";
import type { Example, ExampleOptions, ExampleParser } from "./example.js";
import { openRecordFile } from "./record-file.js";
import type { RecordFile } from "./records.js";
import { UnknownFields } from "./unknown-fields.js";

/** What messages call records that are no file. */
const RECORDS = "examples";

/** Items by index, from 0 to below `size`. */
export interface Indexed<T> {
  /** At least 1. */
  readonly size: number;
  at(index: number): Promise<T>;
}

/** Examples by index. Of a file only the place of each line or row is held in memory. */
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

/** The path of a JSON Lines or Parquet file, or the records themselves, in the shapes that lines have. */
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
 * Opens a data set. A file is read through once, in bounded memory (of Parquet one row group); records are held. Throws
 * `ZO2_ERR_DATA` for an empty data set, a damaged Parquet file, or for bad lines, all together (`DataError`),
 * `ZO2_ERR_IO` for what is no regular file, `ZO2_ERR_CONFIG` for a bad template, `ZO2_ERR_ABORTED`.
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
  return new Zo2Error("ZO2_ERR_DATA", `${name}: has no example; give at least one`);
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

/** Examples that are in memory. */
export class HeldDataset implements Dataset {
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

async function openFile(
  path: string,
  parse: ExampleParser,
  options: DatasetOptions,
  examine: Examine,
): Promise<OpenedDataset> {
  const file = await openRecordFile(path, options.maxLineBytes);
  try {
    const check = (options.check ?? true) ? new Check(path, file.unit, options) : null;
    for await (const scanned of file.scan(options.signal)) {
      const look = () => examine(parse(scanned.record(), scanned.place), file.size);
      if (check === null || (await check.passes(scanned, look))) scanned.keep();
    }
    const result = check?.end() ?? null;
    if (file.size === 0) throw empty(path);
    return { dataset: new FileDataset(file, parse), check: result };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** The examples that the records of a file make. */
class FileDataset implements Dataset {
  constructor(
    private readonly file: RecordFile,
    private readonly parse: ExampleParser,
  ) {}

  get name(): string {
    return this.file.name;
  }

  get size(): number {
    return this.file.size;
  }

  async at(index: number): Promise<Example> {
    checkIndex(this, index);
    const { record, place } = await this.file.at(index);
    return this.parse(record, place);
  }

  close(): Promise<void> {
    return this.file.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
