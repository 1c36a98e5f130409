/** The rows of one split, which may lie in several files. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { at } from "../base/at.js";
import { Zo2Error } from "../base/errors.js";
import { messageOf } from "../base/guards.js";
import { openRecordFile } from "../data/record-file.js";
import type { PlacedRecord, RecordFile } from "../data/records.js";
import { resolveDataset, type ResolveDatasetOptions, splitFiles } from "../hub/index.js";
import type { TaskSource } from "./task.js";

export class Rows implements AsyncDisposable {
  private constructor(private readonly files: readonly RecordFile[]) {}

  /** Reads the files through once. @throws Zo2Error ZO2_ERR_DATA, ZO2_ERR_IO, ZO2_ERR_ABORTED */
  static async open(paths: readonly string[], signal: AbortSignal | undefined): Promise<Rows> {
    const files: RecordFile[] = [];
    try {
      for (const path of paths) {
        const file = await openRecordFile(path);
        files.push(file);
        for await (const row of file.scan(signal)) row.keep();
      }
      return new Rows(files);
    } catch (error) {
      await Promise.all(files.map((file) => file.close()));
      throw error;
    }
  }

  get size(): number {
    return this.files.reduce((sum, { size }) => sum + size, 0);
  }

  at(index: number): Promise<PlacedRecord> {
    let rest = index;
    let file = 0;
    while (rest >= at(this.files, file).size) rest -= at(this.files, file++).size;
    return at(this.files, file).at(rest);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.files.map((file) => file.close()));
  }
}

/** The files of the training split, and of that which the task is evaluated on. */
export interface SplitPaths {
  readonly train: readonly string[];
  readonly test: readonly string[];
}

/** In a folder. @throws Zo2Error ZO2_ERR_IO */
export async function localPaths(
  dir: string,
  { train = "train", test = "validation" }: TaskSource,
): Promise<SplitPaths> {
  let names: string[];
  try {
    names = await readdir(dir, { recursive: true });
  } catch (error) {
    throw new Zo2Error("ZO2_ERR_IO", `${dir}: the folder of the task's data cannot be read: ${messageOf(error)}`, {
      cause: error,
    });
  }
  const pathsOf = (split: string): string[] => {
    const lines = `${split}.jsonl`;
    const files = splitFiles(names, { config: "", split }) ?? (names.includes(lines) ? [lines] : []);
    if (files.length === 0)
      throw new Zo2Error("ZO2_ERR_IO", `${dir}: has no ${split}.parquet and no ${lines}; put one there`);
    return files.map((name) => join(dir, name));
  };
  return { train: pathsOf(train), test: pathsOf(test) };
}

/** From the Hub, or its cache. @throws Zo2Error what `resolveDataset` throws */
export async function hubPaths(source: TaskSource, o: ResolveDatasetOptions): Promise<SplitPaths> {
  const { dataset, config = "", train = "train", test = "validation" } = source;
  const splits = [train, test].map((split) => ({ config, split }));
  const files = await resolveDataset(dataset, splits, o);
  return { train: at(files, 0), test: at(files, 1) };
}
