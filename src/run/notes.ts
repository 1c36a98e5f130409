import type { NoteSource } from "../device/seals.js";
import { encodeNote } from "./seal.js";
import type { FingerprintedUpdate, UpdatesFingerprint } from "./updates.js";

/**
 * What the seals of a run's units say, and when: a unit with the update of a step may be written to its file when the
 * step's record is on the disk, so that the file is never ahead of the journal.
 */
export class RunNotes implements NoteSource {
  /** That of the last step on record. */
  private last: { readonly step: number; readonly note: Uint8Array } | null = null;
  private readonly waiting = new Map<number, (note: Promise<Uint8Array | null> | null) => void>();
  /** Why a record did not come to the disk. */
  private failure: { readonly error: unknown } | null = null;

  /**
   * @param fingerprint of the updates on record.
   * @param synced resolves when all records written so far are on the disk.
   */
  constructor(
    private fingerprint: UpdatesFingerprint,
    private readonly synced: () => Promise<void>,
  ) {}

  noteOf(step: number): Promise<Uint8Array | null> {
    if (this.last !== null && step <= this.last.step)
      return step === this.last.step ? this.onDisk(this.last.note) : Promise.resolve(null);
    return new Promise((resolve) => this.waiting.set(step, resolve));
  }

  /** The record of a step was written. @throws what has kept an earlier one from the disk */
  recorded(update: FingerprintedUpdate): void {
    this.check();
    const { step } = update;
    this.fingerprint.add(update);
    const note = encodeNote({ steps: step + 1, fingerprint: this.fingerprint.now() });
    this.last = { step, note };
    const resolve = this.waiting.get(step);
    this.waiting.delete(step);
    resolve?.(this.onDisk(note));
  }

  /** Steps that are not on record never will be: nothing waits for them any more. */
  giveUp(): void {
    for (const resolve of this.waiting.values()) resolve(null);
    this.waiting.clear();
  }

  /** The updates on record are others now. */
  restart(fingerprint: UpdatesFingerprint): void {
    this.giveUp();
    this.fingerprint = fingerprint;
    this.last = null;
  }

  /** @throws what has kept a record from the disk, once */
  check(): void {
    const { failure } = this;
    this.failure = null;
    if (failure !== null) throw failure.error;
  }

  private async onDisk(note: Uint8Array): Promise<Uint8Array | null> {
    try {
      await this.synced();
      return note;
    } catch (error) {
      this.failure ??= { error };
      return null;
    }
  }
}
