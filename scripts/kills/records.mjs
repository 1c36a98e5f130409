/** What a journal says, beside what it has to say. */
import fs from "node:fs";
import path from "node:path";
import { readRun } from "../../dist/esm/journal/read-run.js";

const FILE = "run.zo2";

/** The records of a run that are the same however often it was interrupted. */
export async function recordsOf(run) {
  const { steps, dropped } = await readRun(run, { resuming: true });
  return { steps, dropped };
}

/**
 * The steps in the journal of `run`, where they are the first of those in `whole`; else what is wrong, in words. None
 * where there is no journal.
 */
export async function stepsIn(run, whole) {
  if (!fs.existsSync(path.join(run, FILE))) return 0;
  let found;
  try {
    found = await recordsOf(run);
  } catch (error) {
    return `${error.code}: ${error.message}`;
  }
  return countOf(found, whole);
}

/** As `stepsIn`, of records. */
export function countOf({ steps, dropped }, whole) {
  const { length } = steps;
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  if (!same(steps, whole.steps.slice(0, length))) return "other steps than those of the run";
  if (
    !same(
      dropped,
      whole.dropped.filter(({ step }) => step < length),
    )
  )
    return "other steps are dropped";
  return length;
}
