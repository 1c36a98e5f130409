import { Zo2Error } from "../base/errors.js";
import { exists } from "../base/files.js";
import { emitWarning, type Warning } from "../base/warnings.js";
import type { ResolvedTrainerOptions, TrainerOptions } from "../config/trainer.js";
import type { RunSession } from "../journal/header.js";
import { type Journal, readJournal } from "../journal/read.js";
import type { DroppedRecord, EvaluationRecord, StepRecord } from "../journal/record.js";
import { JournalWriter } from "../journal/writer.js";
import type { Loaded } from "../loaded.js";
import { StepError } from "../method/index.js";
import { headerOf, type DataDescription, sessionOf } from "./describe.js";
import { checkBase, checkFits } from "./fits.js";
import { RunFolder } from "./folder.js";
import { forgetFiles, keepFiles } from "./kept-files.js";
import { RunNotes } from "./notes.js";
import { type RestoreOptions, restoreRun, restoreRunAnew } from "./restore.js";
import { clearLeftOvers, pruneSnapshots, writeSnapshot } from "./snapshots.js";
import { UpdatesFingerprint, type Updates, updatesOf } from "./updates.js";
import { asItIs } from "./weights-now.js";

/** A training that is written down while it goes on: its folder, which no other process may write, and its journal. */
export class Run implements AsyncDisposable {
  private constructor(
    private readonly folder: RunFolder,
    private readonly journal: JournalWriter,
    private readonly loaded: Loaded,
    private readonly steps: number,
    private taken: number,
    /** What is said of units on disk; null where their file is not kept, or there is none. */
    private readonly notes: RunNotes | null,
  ) {}

  /**
   * Begins the run in folder `dir`, or goes on where `taken` steps of it have been taken.
   * @throws Zo2Error ZO2_ERR_JOURNAL where the folder holds another run, or more or fewer steps of this one;
   *   ZO2_ERR_BUSY where it is being written; ZO2_ERR_IO
   */
  static async open(
    dir: string,
    loaded: Loaded,
    options: ResolvedTrainerOptions,
    data: DataDescription,
    taken: number,
    onWarning: (warning: Warning) => void,
  ): Promise<Run> {
    const folder = await RunFolder.take(dir);
    try {
      const { journalPath } = folder;
      await clearLeftOvers(dir);
      // Weights with some of the steps were checked when those were taken or replayed.
      const header = await headerOf(taken === 0 ? await asItIs(loaded) : loaded, options, data);
      const journal = (await exists(journalPath)) ? await readJournal(journalPath, { resuming: true }) : null;
      if (journal !== null) {
        if (journal.steps.length > 0 && taken === 0) {
          throw new Zo2Error(
            "ZO2_ERR_JOURNAL",
            `${dir}: holds a run of ${journal.steps.length} steps; resume it, or choose another folder as option "run"`,
          );
        }
        if (taken === 0) checkBase(journal.header, header, journalPath);
        checkFits(journal.header, header, journalPath);
        if (journal.steps.length !== taken) {
          throw new Zo2Error(
            "ZO2_ERR_JOURNAL",
            `${journalPath}: holds ${journal.steps.length} steps, and this trainer has taken ${taken}: another one ` +
              "has written there; resume the run",
          );
        }
      }
      const writer =
        journal === null
          ? await JournalWriter.create(journalPath, header, options.durability)
          : await JournalWriter.resume(journal, options.durability);
      try {
        const session = await sessionOf(loaded, options, taken);
        const last = journal?.sessions.at(-1);
        if (taken > 0 && last !== undefined && last.rounding !== session.rounding)
          onWarning(roundsAnew(dir, last, session));
        await writer.session(session);
        const run = journal ?? { header, steps: [], dropped: [] };
        const notes = await keepWeights(dir, loaded, run, options, writer, onWarning);
        return new Run(folder, writer, loaded, options.steps, taken, notes);
      } catch (error) {
        await writer.close().catch(() => undefined);
        throw error;
      }
    } catch (error) {
      await folder[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** In the file when it has resolved. @throws Zo2Error ZO2_ERR_IO */
  async step(record: StepRecord): Promise<void> {
    await this.journal.step(record);
    this.notes?.recorded(record);
    this.taken = record.step + 1;
  }

  evaluation(record: EvaluationRecord): Promise<void> {
    return this.journal.evaluation(record);
  }

  /**
   * Writes down that steps do not count, and rebuilds the weights without them.
   * @throws Zo2Error ZO2_ERR_JOURNAL where the run did not begin with the model's own checkpoint
   */
  async drop(record: DroppedRecord, step: StepRecord, o: RestoreOptions): Promise<void> {
    await this.journal.dropped(record, step);
    const journal = await readJournal(this.journal.path);
    await restoreRunAnew(this.loaded, this.folder.dir, journal, o);
    this.notes?.restart(await fingerprintOf(journal));
    this.taken = record.step + 1;
  }

  /** No more steps are written down: nothing on the device waits for the record of one any more. */
  giveUp(): void {
    this.notes?.giveUp();
  }

  /**
   * Leaves the weights at rest, before the steps that are left: where their file is kept, with every update that they
   * have.
   * @param whole whether the weights are those of the steps that were taken.
   */
  async leave(whole: boolean): Promise<void> {
    if (this.notes === null) return;
    const { session } = this.loaded;
    // A failure has been heard of, or is by whoever uses the weights next; the file is behind then.
    if (whole && this.taken < this.steps) await session.flush().catch(() => undefined);
    await session.settle();
  }

  /**
   * Rebuilds the weights of the run that `dir` keeps. Where the update of a step that was taken makes them overflow,
   * which the step behind it did not live to say, that and all behind it are dropped, `drops` steps at least.
   * @param drops steps that a guard drops; 0: none, and such a run is refused.
   * @returns the journal as it is then
   * @throws Zo2Error ZO2_ERR_JOURNAL, ZO2_ERR_NOT_FINITE; ZO2_ERR_BUSY where steps are to be dropped and another
   *   process writes the run
   */
  static async restore(
    loaded: Loaded,
    dir: string,
    journal: Journal,
    drops: number,
    o: RestoreOptions,
  ): Promise<Journal> {
    try {
      await restoreRun(loaded, dir, journal, o);
      return journal;
    } catch (error) {
      if (drops === 0 || !(error instanceof StepError)) throw error;
      await using folder = await RunFolder.take(dir);
      // Whoever had the run until now may have written more.
      const last = await readJournal(folder.journalPath, { resuming: true });
      const taken = last.steps.length;
      const count = Math.min(taken, Math.max(drops, taken - error.step));
      const record: DroppedRecord = { step: taken - 1, count, guard: "not-finite" };
      await using writer = await JournalWriter.resume(last, "step");
      await writer.dropped(record, null);
      const mended = await readJournal(folder.journalPath);
      await restoreRunAnew(loaded, dir, mended, o);
      (o.onWarning ?? emitWarning)(droppedWarning(error, record));
      return mended;
    }
  }

  /**
   * Keeps the weights as they are after `taken` steps, and of those that were kept before the newest, `keep` in all.
   * @returns the folder @throws Zo2Error ZO2_ERR_IO
   */
  async snapshot(taken: number, keep: number): Promise<string> {
    // A snapshot ahead of the journal would be of no use.
    await this.journal.sync();
    const { dir } = this.folder;
    const path = await writeSnapshot(dir, this.loaded, await readJournal(this.journal.path), taken);
    await pruneSnapshots(dir, keep);
    return path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.giveUp();
    this.loaded.session.seal(null);
    try {
      await this.journal.close();
      this.notes?.check();
      if (this.taken >= this.steps) await forgetFiles(this.folder.dir);
    } finally {
      await this.folder[Symbol.asyncDispose]();
    }
  }
}

/** Keeps the file of the weights on disk, and says from now on what is in it. */
async function keepWeights(
  dir: string,
  loaded: Loaded,
  run: Updates,
  { durability }: ResolvedTrainerOptions,
  writer: JournalWriter,
  onWarning: (warning: Warning) => void,
): Promise<RunNotes | null> {
  if (loaded.session.store.scratchFiles.length === 0) return null;
  // What is pending is the run's own, or nothing.
  await loaded.session.flush();
  if ((await keepFiles(dir, loaded, run.header, onWarning)).length === 0) return null;
  const synced = durability === "second" ? () => writer.sync() : () => Promise.resolve();
  const notes = new RunNotes(await fingerprintOf(run), synced);
  loaded.session.seal(notes);
  return notes;
}

async function fingerprintOf(run: Updates): Promise<UpdatesFingerprint> {
  const fingerprint = await UpdatesFingerprint.create(run.header);
  for (const update of updatesOf(run)) fingerprint.add(update);
  return fingerprint;
}

function roundsAnew(dir: string, last: RunSession, { from, device }: RunSession): Warning {
  return {
    code: "ZO2_WARN_ROUNDING",
    message:
      `${dir}: goes on behind ${from} steps, whose weights are rebuilt to the bit, on ${device}, and was trained on ` +
      `${last.device}: where devices, builds, micro-batches or units are different, steps from here on may be ` +
      "rounded differently",
  };
}

/** That steps were dropped, for `error`. */
export function droppedWarning(error: Error, { step, count }: DroppedRecord): Warning {
  const steps = count === 1 ? `step ${step} does` : `steps ${step - count + 1} to ${step} do`;
  return { code: "ZO2_WARN_DIVERGED", message: `${error.message}; ${steps} not count, and the run goes on` };
}

/** The options of a run's trainer, as far as a journal holds them. */
export function optionsOf({ header, sessions }: Pick<Journal, "header" | "sessions">): TrainerOptions {
  const { seed, objectiveFrom: _, ...training } = header.training;
  const { steps, durability, snapshots, onDivergence, microBatchSize } = sessions.at(-1)?.options ?? {};
  const kept = {
    steps,
    durability,
    snapshots,
    onDivergence,
    ...(microBatchSize === undefined ? {} : { microBatchSize }),
  };
  // Parsed again where they are used.
  return { ...training, seed: BigInt(String(seed)), ...kept } as TrainerOptions;
}

/** The best evaluation so far. */
export function bestOf({ evaluations }: Pick<Journal, "evaluations">): EvaluationRecord | null {
  return evaluations.findLast(({ best }) => best) ?? null;
}
