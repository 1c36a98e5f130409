import { stat } from "node:fs/promises";
import { join } from "node:path";
import { type Journal, readJournal } from "./read.js";

/** The journal in the folder of a run. */
export const JOURNAL_FILE = "run.zo2";

/** The journal of a run, by the run's folder or the file itself; else as `readJournal`. */
export async function readRun(path: string, o: { readonly resuming?: boolean } = {}): Promise<Journal> {
  const info = await stat(path).catch(() => undefined);
  return readJournal(info?.isDirectory() === true ? join(path, JOURNAL_FILE) : path, o);
}
