import type { Buffer, Device, Gate } from "zo2/native";
import { SEAL_NOTE_BYTES } from "../contract/constants.js";
import { STEPS_IN_FLIGHT } from "../memory/control.js";
import type { Span } from "./words.js";

/** Knows what the seals of units say that have an update in them. */
export interface NoteSource {
  /**
   * Resolves with the note (`SEAL_NOTE_BYTES`) once units with the update of this step, and all before it, may be
   * written to a file; with null where nobody will ever know that step, so that they need not wait. Never rejects.
   */
  noteOf(step: number): Promise<Uint8Array | null>;
}

/** What the writes of a pass wait for, and what their seals say then. */
export interface PassSeal {
  readonly gate: Gate;
  readonly note: Span;
}

/**
 * Notes that may be read at once. When a pass begins, the one `STEPS_IN_FLIGHT` before it has ended; that one has
 * brought every unit, or waited for what was written, and so come after all writes of the pass before it.
 */
export const NOTES = STEPS_IN_FLIGHT + 1;

/** Says that a unit is one that nobody knows. */
const NOBODYS = new Uint8Array(SEAL_NOTE_BYTES);

/** The notes of passes, and the gates that their writes to a file stand before. */
export class Seals {
  private notes: Buffer | null = null;

  constructor(private readonly device: Device) {}

  /** @param pass its number: of passes in a row `NOTES` have a note at a time. */
  async create(pass: number): Promise<PassSeal> {
    this.notes ??= await this.device.createBuffer("host", NOTES * SEAL_NOTE_BYTES);
    const note = { buffer: this.notes, offset: (pass % NOTES) * SEAL_NOTE_BYTES };
    return { gate: this.device.createGate(), note };
  }

  /** Lets the writes of a pass that was submitted go on, once the note is known. */
  async open({ gate, note: { buffer, offset } }: PassSeal, coming: Promise<Uint8Array | null>): Promise<void> {
    const note = await coming;
    // Where the model was disposed nothing is written any more.
    if (!buffer.disposed) buffer.write(offset, note ?? NOBODYS);
    gate.dispose();
  }

  dispose(): void {
    this.notes?.dispose();
  }
}
