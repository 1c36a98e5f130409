import { realpath, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { Zo2Error } from "../base/errors.js";
import { replaceTextFile } from "../base/files.js";
import { messageOf } from "../base/guards.js";
import { documentOf } from "./document.js";
import { openRuns, placeOf, type RunPlace } from "./run.js";

/** What was written, and of what. */
export interface WrittenReport {
  /** Path of the HTML file. */
  readonly out: string;
  readonly bytes: number;
  readonly runs: readonly { readonly name: string; readonly steps: number; readonly evaluations: number }[];
}

/** In the folder of a run. */
const REPORT_FILE = "report.html";

/**
 * Writes a page on runs, given by folder or journal: one HTML file that needs nothing else.
 *
 * @param out path of the file. @default `report.html` in the run's folder, or `<journal>.html` beside a file; of
 *   several runs it has to be given
 * @throws Zo2Error ZO2_ERR_IO, ZO2_ERR_JOURNAL; ZO2_ERR_CONFIG without a path that is needed
 */
export async function writeReport(runs: string | readonly string[], out?: string): Promise<WrittenReport> {
  const paths = typeof runs === "string" ? [runs] : runs;
  const places = await Promise.all(paths.map(placeOf));
  const target = out ?? defaultOut(places);
  const opened = await openRuns(places);
  for (const { journal } of opened) await checkApart(target, journal.path);
  const bytes = await write(target, documentOf(opened, new Date()));
  return {
    ...{ out: target, bytes },
    runs: opened.map(({ name, journal: { steps, evaluations } }) => ({
      ...{ name, steps: steps.length, evaluations: evaluations.length },
    })),
  };
}

function defaultOut(places: readonly RunPlace[]): string {
  const [only, ...others] = places;
  if (only === undefined) throw new Zo2Error("ZO2_ERR_CONFIG", "a report of no run; give a run's folder or journal");
  if (others.length > 0) {
    throw new Zo2Error(
      "ZO2_ERR_CONFIG",
      `option "out" is missing; give the file for the report of ${places.length} runs`,
    );
  }
  return only.folder === null ? `${only.path}.html` : join(only.folder, REPORT_FILE);
}

/** A run is not to be lost by a slip of the hand. */
async function checkApart(out: string, journal: string): Promise<void> {
  const [a, b] = await Promise.all([realpath(out).catch(() => resolve(out)), realpath(journal)]);
  if (a !== b) return;
  throw new Zo2Error("ZO2_ERR_CONFIG", `option "out": ${out} is the journal itself; give another file`);
}

/** @returns bytes */
async function write(path: string, text: string): Promise<number> {
  try {
    const old = await stat(path).catch(() => undefined);
    if (old?.isDirectory() === true) throw new Error("it is a folder; give a file");
    await replaceTextFile(path, text);
    return Buffer.byteLength(text);
  } catch (error) {
    throw new Zo2Error("ZO2_ERR_IO", `${path}: the report cannot be written: ${messageOf(error)}`, { cause: error });
  }
}
