import { Zo2Error } from "../base/errors.js";
import type { ReplayedUpdate } from "../device/requests.js";
import type { Journal } from "../journal/read.js";
import type { Loaded } from "../loaded.js";
import { baseOf } from "./describe.js";
import { checkBase } from "./fits.js";
import { updatesOf } from "./updates.js";
import { asItIs } from "./weights-now.js";

export interface ReplayRunOptions {
  /** Steps to apply. @default all */
  readonly steps?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: ReplayProgress) => void) | undefined;
}

export interface ReplayProgress {
  /** Path of the journal. */
  readonly journal: string;
  /** Updates that have been applied, of those that count. */
  readonly applied: number;
  readonly steps: number;
  /**
   * Units that rest on disk and came from the file that the run has left there, with some of the updates or all of
   * them; absent where there was no such file.
   */
  readonly unitsKept?: number;
}

/** Units that lack the same updates. */
export interface Lacking {
  readonly updates: readonly ReplayedUpdate[];
  /** @default all */
  readonly units?: readonly number[];
}

/**
 * Rebuilds the weights of a run from those that are loaded: to the bytes that the training left, whatever device it ran
 * on. Streams every unit, once for some hundred steps.
 * @throws Zo2Error ZO2_ERR_JOURNAL where the run began with other weights, or has fewer steps than are asked for
 */
export async function replayRun(loaded: Loaded, journal: Journal, o: ReplayRunOptions = {}): Promise<void> {
  const { path } = journal;
  const steps = o.steps ?? journal.steps.length;
  if (steps > journal.steps.length)
    throw new Zo2Error(
      "ZO2_ERR_JOURNAL",
      `${path}: holds ${journal.steps.length} steps, and ${steps} are asked for; ask for at most as many as there are`,
    );
  await checkBegins(loaded, journal, o.signal);
  await applyUpdates(loaded, journal, [{ updates: updatesOf(journal, steps) }], o);
}

/** Checks that the weights are those that the run began with. @throws Zo2Error ZO2_ERR_JOURNAL */
export async function checkBegins(loaded: Loaded, journal: Journal, signal: AbortSignal | undefined): Promise<void> {
  checkBase(journal.header, await baseOf(await asItIs(loaded, signal)), journal.path);
}

/**
 * Applies some of a run's updates, as the run did: what it froze stays as it is.
 * @param o.note what is said then of units that rest in a file.
 */
export async function applyUpdates(
  { session, parameters }: Loaded,
  { header, path }: Journal,
  lacking: readonly Lacking[],
  o: Pick<ReplayRunOptions, "signal" | "onProgress"> & {
    readonly note?: Uint8Array;
    readonly unitsKept?: number | undefined;
  },
): Promise<void> {
  const frozen = new Set(header.method.frozen);
  await session.freeze(new Set(parameters.filter(({ name }) => frozen.has(name))));
  const { unitsKept, signal, note } = o;
  const steps = lacking.reduce((sum, { updates }) => sum + updates.length, 0);
  const kept = unitsKept === undefined ? {} : { unitsKept };
  let before = 0;
  const onProgress = (applied: number) => o.onProgress?.({ journal: path, applied: before + applied, steps, ...kept });
  if (unitsKept !== undefined) onProgress(0);
  try {
    for (const { updates, units } of lacking) {
      await session.replay(updates, { signal, onProgress, units, note });
      before += updates.length;
    }
  } finally {
    await session.freeze(new Set());
  }
}
