/** What lies in the folders of trials, held against what is asked for now. */
import { fingerprintOfFile } from "../data/fingerprint.js";
import type { DataSource } from "../infer/source.js";
import type { Journal } from "../journal/read.js";
import type { Loaded } from "../loaded.js";
import { type DataDescription, headerOf } from "../run/describe.js";
import { checkBase, checkFits } from "../run/fits.js";
import { fingerprintOfRun, openRunData } from "../train/run-data.js";
import { withRateOf } from "../train/rate.js";
import type { PlacedTrial } from "./folder.js";

/**
 * Checks that the run of a trial began with these weights and this data, so that it may be taken as it is, or gone on
 * with. @throws Zo2Error ZO2_ERR_JOURNAL naming what is different
 */
export async function checkKept(
  loaded: Loaded,
  { resolved }: PlacedTrial,
  data: DataSource,
  journal: Journal,
  signal: AbortSignal | undefined,
): Promise<void> {
  const options = withRateOf(resolved, journal);
  const asked = await headerOf(loaded, options, await describedAs(loaded, resolved, data, journal, signal));
  checkBase(journal.header, asked, journal.path);
  checkFits(journal.header, asked, journal.path);
}

/** The data as a journal describes it: a file by its bytes alone. */
async function describedAs(
  loaded: Loaded,
  resolved: PlacedTrial["resolved"],
  data: DataSource,
  { header }: Journal,
  signal: AbortSignal | undefined,
): Promise<DataDescription> {
  if (typeof data === "string")
    return { path: data, examples: header.data.examples, hash: await fingerprintOfFile(data, signal) };
  await using run = await openRunData(loaded, resolved, data, { signal });
  return fingerprintOfRun(run.training, data, signal);
}
