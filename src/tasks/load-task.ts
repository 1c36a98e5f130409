import { Zo2Error } from "../base/errors.js";
import { parseOptions } from "../config/parse.js";
import { taskOptionsSchema, type TaskOptions } from "../config/task.js";
import type { DownloadProgress } from "../hub/index.js";
import { drawTraining, firstOf } from "./draw.js";
import { readRow } from "./examples.js";
import { taskOf } from "./registry.js";
import { hubPaths, localPaths, Rows } from "./rows.js";
import { TaskData } from "./task-data.js";

export interface LoadTaskHooks {
  /** Stops the download or the reading. */
  readonly signal?: AbortSignal;
  /** Sees the download from the Hub. */
  readonly onProgress?: (progress: DownloadProgress) => void;
}

const SIZES = { train: 1000, dev: 500, test: 1000 };

/**
 * The data of one of MeZO's tasks, or of one that was registered: from the Hub through the shared cache, or from a
 * folder. Train and dev are drawn of its training split, test of its validation split.
 * @throws Zo2Error ZO2_ERR_CONFIG for a name or an option, ZO2_ERR_DATA naming a row that cannot be used or a damaged
 *   file, ZO2_ERR_CHECKPOINT, ZO2_ERR_IO, ZO2_ERR_ABORTED
 */
export async function loadTask(name: string, options: TaskOptions = {}, hooks: LoadTaskHooks = {}): Promise<TaskData> {
  const o = parseOptions(taskOptionsSchema, options, "task options");
  const task = taskOf(name);
  const { source } = task;
  const paths =
    o.data === undefined ? await hubPaths(source, { ...o.hub, ...hooks }) : await localPaths(o.data, source);
  const sizes = { ...SIZES, ...task.sizes, ...defined(o) };
  const rows = await Rows.open(paths.train, hooks.signal);
  try {
    const { train, dev } = drawTraining(rows.size, sizes, o.seed, o.faithful);
    await using tests = await Rows.open(paths.test, hooks.signal);
    const test = firstOf(tests.size, sizes.test, o.seed);
    if (test.length === 0) throw new Zo2Error("ZO2_ERR_DATA", `${paths.test[0]}: has no row to evaluate on`);
    const read = async (from: Rows, indices: readonly number[]) =>
      Promise.all(indices.map(async (i) => readRow(task, await from.at(i))));
    return new TaskData(task, o, rows, {
      train: await read(rows, train),
      dev: await read(rows, dev),
      test: await read(tests, test),
    });
  } catch (error) {
    await rows[Symbol.asyncDispose]();
    throw error;
  }
}

function defined(o: { readonly train?: number; readonly dev?: number; readonly test?: number }) {
  const { train, dev, test } = o;
  return {
    ...(train === undefined ? {} : { train }),
    ...(dev === undefined ? {} : { dev }),
    ...(test === undefined ? {} : { test }),
  };
}
