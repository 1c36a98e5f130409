import { emitWarning, type Warning } from "../base/warnings.js";
import type { Journal } from "../journal/read.js";
import type { Loaded } from "../loaded.js";
import { baseOf } from "./describe.js";
import { checkBase } from "./fits.js";
import { readBase } from "./read-weights.js";
import { openKept } from "./kept-files.js";
import { applyUpdates, checkBegins, type Lacking, type ReplayRunOptions } from "./replay.js";
import { encodeNote } from "./seal.js";
import { readNewestSnapshot } from "./snapshots.js";
import { fingerprintOfUpdates, updatesOf } from "./updates.js";

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
 * Rebuilds the weights after all steps of the run in `dir`: those of each unit from the file that the run has left on
 * disk, from its newest whole snapshot, or from its base, whichever is soonest. The weights that are there have to be
 * the base.
 * @throws Zo2Error ZO2_ERR_JOURNAL where the run began with other weights, or a snapshot was damaged and the base is no
 *   checkpoint that could be read again; ZO2_ERR_CHECKPOINT, ZO2_ERR_ABORTED
 */
export async function restoreRun(loaded: Loaded, dir: string, journal: Journal, o: RestoreOptions): Promise<void> {
  await checkBegins(loaded, journal, o.signal);
  await using kept = await openKept(dir, loaded, journal, o.onWarning ?? emitWarning);
  const changing = changingUnits(loaded, journal);
  const { revision } = loaded.session;
  // A snapshot helps where some unit of the file lacks more than it does.
  const least = Math.min(...changing.map((unit) => kept?.counts.get(unit) ?? 0));
  const steps = await fromSnapshot(loaded, dir, journal, least, o);
  if (steps === 0 && loaded.session.revision !== revision) await readBaseOf(journal, loaded, o);
  const all = updatesOf(journal);
  const had = all.filter(({ step }) => step < steps).length;
  if (kept === null) return applyBehind(loaded, journal, [{ updates: all.slice(had) }], o);
  const newer = changing.filter((unit) => (kept.counts.get(unit) ?? 0) > had);
  const brought = await kept.bring(newer, o.signal);
  // Those that have no more than the snapshot are whole, and of no use.
  const rebuilt = changing.filter(
    (u) => kept.written.has(u) && (newer.includes(u) ? !brought.has(u) : !kept.counts.has(u)),
  );
  if (rebuilt.length > 0) (o.onWarning ?? emitWarning)(notUsed(dir, rebuilt.length, brought.size));
  const has = (unit: number) => (brought.has(unit) ? (kept.counts.get(unit) ?? had) : had);
  await applyBehind(loaded, journal, lackingOf(changing, has, all), { ...o, unitsKept: brought.size });
}

/** By what they lack, those that lack the most first. */
export function lackingOf<T extends Lacking["updates"][number]>(
  units: readonly number[],
  has: (unit: number) => number,
  updates: readonly T[],
): Lacking[] {
  const counts = [...new Set(units.map(has))].sort((a, b) => a - b);
  return counts
    .filter((count) => count < updates.length)
    .map((count) => ({ updates: updates.slice(count), units: units.filter((unit) => has(unit) === count) }));
}

/** Units in which something is trained. */
function changingUnits({ session }: Loaded, { header }: Journal): readonly number[] {
  const frozen = new Set(header.method.frozen);
  return session.units.flatMap(({ index, tensors }) =>
    tensors.some(({ parameter }) => !frozen.has(parameter.name)) ? [index] : [],
  );
}

/**
 * The same in the place of weights that have gone wrong: the base is read again.
 * @throws Zo2Error ZO2_ERR_JOURNAL where the run did not begin with the model's own checkpoint
 */
export async function restoreRunAnew(loaded: Loaded, dir: string, journal: Journal, o: RestoreOptions): Promise<void> {
  const steps = await fromSnapshot(loaded, dir, journal, 0, o);
  if (steps === 0) await readBaseOf(journal, loaded, o);
  await applyBehind(loaded, journal, [{ updates: updatesOf(journal).filter(({ step }) => step >= steps) }], o);
}

/** The weights that the run began with, which have to be those of the checkpoint that the model was loaded from. */
async function readBaseOf(journal: Journal, loaded: Loaded, o: RestoreOptions): Promise<void> {
  checkBase(journal.header, await baseOf(loaded), journal.path);
  await readBase(loaded, o.signal);
}

/** @param had updates that every unit has without it. */
function fromSnapshot(loaded: Loaded, dir: string, journal: Journal, had: number, o: RestoreOptions): Promise<number> {
  const { kind } = loaded.session.info();
  const least = had + (kind.startsWith("cuda") ? WORTH_A_SNAPSHOT.cuda : WORTH_A_SNAPSHOT.cpu);
  return readNewestSnapshot(dir, loaded, journal, { least, signal: o.signal, onWarning: o.onWarning ?? emitWarning });
}

/** Applies what is lacking; units in a file that get it say then that they have every update of the run. */
async function applyBehind(
  loaded: Loaded,
  journal: Journal,
  lacking: readonly Lacking[],
  o: RestoreOptions & { readonly unitsKept?: number },
): Promise<void> {
  const all = updatesOf(journal);
  const fingerprint = await fingerprintOfUpdates(journal.header, all);
  const note = encodeNote({ steps: (all.at(-1)?.step ?? -1) + 1, fingerprint });
  await applyUpdates(loaded, journal, lacking, { ...o, note });
}

function notUsed(dir: string, rebuilt: number, kept: number): Warning {
  return {
    code: "ZO2_WARN_DISK",
    message:
      `${dir}: ${rebuilt} of the units that it has left on disk were torn, damaged or without a record, and are ` +
      `rebuilt from its snapshots or its base and the journal; ${kept} were taken as they are`,
  };
}
