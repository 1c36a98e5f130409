import { basename, dirname, join, resolve } from "node:path";
import { stat } from "node:fs/promises";
import type { Journal } from "../journal/read.js";
import { readRun } from "../journal/read-run.js";
import { METRICS_FILE } from "../report/metrics.js";
import { LANES_FILE, readLanes, type RunLanes } from "./lanes-file.js";
import { readMetrics, type StepMetrics } from "./metrics.js";

/** One run as a page knows it. */
export interface ShownRun {
  /** Its folder, or its file where no folder was given; told apart from the others'. */
  readonly name: string;
  readonly journal: Journal;
  /** Null where none lie beside the journal. */
  readonly metrics: readonly StepMetrics[] | null;
  /** Of one step; where there are none to show, why. */
  readonly lanes: RunLanes | { readonly why: string };
}

/** Where a run's files lie. */
export interface RunPlace {
  readonly path: string;
  /** Of a journal without a folder of its own: null. */
  readonly folder: string | null;
}

export async function placeOf(path: string): Promise<RunPlace> {
  const info = await stat(path).catch(() => undefined);
  return { path, folder: info?.isDirectory() === true ? path : null };
}

/** @throws Zo2Error as `readRun` */
export async function openRuns(places: readonly RunPlace[]): Promise<ShownRun[]> {
  const names = namesOf(places.map(({ path }) => path));
  return Promise.all(
    places.map(async ({ path, folder }, i) => ({
      name: names[i] ?? path,
      journal: await readRun(path),
      metrics: folder === null ? null : await readMetrics(join(folder, METRICS_FILE)),
      lanes: folder === null ? { why: "a journal has none" } : await readLanes(join(folder, LANES_FILE)),
    })),
  );
}

/** The last part of each path; all of it, and at last a number, where two would be called alike. */
export function namesOf(paths: readonly string[]): string[] {
  const short = paths.map((path) => basename(resolve(path)));
  const longer = paths.map((path) => join(basename(dirname(resolve(path))), basename(resolve(path))));
  const alone = (names: readonly string[], i: number) => names.filter((name) => name === names[i]).length === 1;
  return paths.map((path, i) => {
    const name = [short, longer, paths].find((names) => alone(names, i))?.[i];
    return name ?? `${path} (${paths.slice(0, i + 1).filter((other) => other === path).length})`;
  });
}
