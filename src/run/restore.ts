import { emitWarning, type Warning } from "../base/warnings.js";
import type { Journal } from "../journal/read.js";
import type { Loaded } from "../loaded.js";
import { baseOf } from "./describe.js";
import { checkBase } from "./fits.js";
import { readBase } from "./read-weights.js";
import { applyUpdates, checkBegins, type ReplayRunOptions } from "./replay.js";
import { readNewestSnapshot } from "./snapshots.js";
import { updatesOf } from "./updates.js";

/**
 * Updates that are replayed as soon as a snapshot is read: a snapshot with fewer than these is left aside. On a CPU
 * that is about one of Gaussian noise where the snapshot is in the system's cache (bench/replay.mjs), and more where it
 * comes from a disk. A GPU draws noise much faster than any disk reads; its figure is an estimate.
 */
const WORTH_A_SNAPSHOT = { cpu: 2, cuda: 256 } as const;

export interface RestoreOptions extends Omit<ReplayRunOptions, "steps"> {
  readonly onWarning?: ((warning: Warning) => void) | undefined;
}

/**
 * Rebuilds the weights after all steps of the run in `dir`: from its newest whole snapshot, or from its base where that
 * is sooner. The weights that are there have to be the base.
 * @throws Zo2Error ZO2_ERR_JOURNAL where the run began with other weights, or a snapshot was damaged and the base is no
 *   checkpoint that could be read again; ZO2_ERR_CHECKPOINT, ZO2_ERR_ABORTED
 */
export async function restoreRun(loaded: Loaded, dir: string, journal: Journal, o: RestoreOptions): Promise<void> {
  await checkBegins(loaded, journal, o.signal);
  const { revision } = loaded.session;
  const steps = await fromSnapshot(loaded, dir, journal, o);
  if (steps === 0 && loaded.session.revision !== revision) await readBaseOf(journal, loaded, o);
  await applyBehind(loaded, journal, steps, o);
}

/**
 * The same in the place of weights that have gone wrong: the base is read again.
 * @throws Zo2Error ZO2_ERR_JOURNAL where the run did not begin with the model's own checkpoint
 */
export async function restoreRunAnew(loaded: Loaded, dir: string, journal: Journal, o: RestoreOptions): Promise<void> {
  const steps = await fromSnapshot(loaded, dir, journal, o);
  if (steps === 0) await readBaseOf(journal, loaded, o);
  await applyBehind(loaded, journal, steps, o);
}

/** The weights that the run began with, which have to be those of the checkpoint that the model was loaded from. */
async function readBaseOf(journal: Journal, loaded: Loaded, o: RestoreOptions): Promise<void> {
  checkBase(journal.header, await baseOf(loaded), journal.path);
  await readBase(loaded, o.signal);
}

function fromSnapshot(loaded: Loaded, dir: string, journal: Journal, o: RestoreOptions): Promise<number> {
  const { kind } = loaded.session.info();
  const least = kind.startsWith("cuda") ? WORTH_A_SNAPSHOT.cuda : WORTH_A_SNAPSHOT.cpu;
  return readNewestSnapshot(dir, loaded, journal, { least, signal: o.signal, onWarning: o.onWarning ?? emitWarning });
}

/** What a snapshot after `steps` steps does not have. */
async function applyBehind(loaded: Loaded, journal: Journal, steps: number, o: RestoreOptions): Promise<void> {
  await applyUpdates(
    loaded,
    journal,
    updatesOf(journal).filter(({ step }) => step >= steps),
    o,
  );
}
