import type { Device, Gate } from "zo2/native";
import { at } from "../base/at.js";
import { SEAL_NOTE_BYTES } from "../contract/constants.js";
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

/** Says that a unit is one that nobody knows. */
const NOBODYS = new Uint8Array(SEAL_NOTE_BYTES);

/** The gates that the writes of passes to a file stand before, and where their notes are. */
export class Seals {
  /** @param notes as many as may be read at once: see `NOTES`. */
  constructor(
    private readonly device: Device,
    private readonly notes: readonly Span[],
  ) {}

  /** @param pass its number: passes in a row have a note each. */
  create(pass: number): PassSeal {
    return { gate: this.device.createGate(), note: at(this.notes, pass % this.notes.length) };
  }

  /** Lets the writes of a pass that was submitted go on, once the note is known. */
  async open({ gate, note: { buffer, offset } }: PassSeal, coming: Promise<Uint8Array | null>): Promise<void> {
    const note = await coming;
    // Where the model was disposed nothing is written any more.
    if (!buffer.disposed) buffer.write(offset, note ?? NOBODYS);
    gate.dispose();
  }
}
