import type { Buffer, Device } from "zo2/native";
import { at } from "../base/at.js";
import type { Span } from "./words.js";

/** Bytes of a unit as a file of its checkpoint has them. */
export interface StoredPiece {
  readonly path: string;
  /** From the start of the file, and of the unit's wire bytes. */
  readonly fileOffset: number;
  readonly unitOffset: number;
  readonly bytes: number;
}

/** Where bytes are that become those of a unit from `unitOffset` on. */
export interface Reading {
  readonly from: Span;
  readonly unitOffset: number;
  readonly bytes: number;
}

/** The files of a checkpoint, open to be read while the model is there, and which bytes of them are whose. */
export class CheckpointFiles {
  private constructor(
    private readonly files: readonly Buffer[],
    private readonly byUnit: readonly (readonly Reading[])[],
  ) {}

  /** @param pieces by unit; those of a file that is in none of them are not opened. @throws Zo2Error ZO2_ERR_IO */
  static async open(device: Device, pieces: readonly (readonly StoredPiece[])[]): Promise<CheckpointFiles> {
    const files = new Map<string, Buffer>();
    try {
      for (const path of new Set(pieces.flat().map((piece) => piece.path)))
        files.set(path, await device.openFileBuffer(path));
    } catch (error) {
      for (const file of files.values()) file.dispose();
      throw error;
    }
    const readingOf = ({ path, fileOffset, unitOffset, bytes }: StoredPiece): Reading => {
      const buffer = files.get(path);
      if (buffer === undefined) throw new Error(`${path} was not opened`);
      return { from: { buffer, offset: fileOffset }, unitOffset, bytes };
    };
    return new CheckpointFiles(
      [...files.values()],
      pieces.map((own) => own.map(readingOf)),
    );
  }

  readings(unit: number): readonly Reading[] {
    return at(this.byUnit, unit);
  }

  /** Where a unit's byte `offset`, and those of its tensor behind it, are. */
  spanAt(unit: number, offset: number): Span {
    const piece = this.readings(unit).find((own) => offset >= own.unitOffset && offset < own.unitOffset + own.bytes);
    if (piece === undefined) throw new Error(`byte ${offset} of unit ${unit} is in no file of its checkpoint`);
    return { buffer: piece.from.buffer, offset: piece.from.offset + offset - piece.unitOffset };
  }

  dispose(): void {
    for (const file of this.files) file.dispose();
  }
}
