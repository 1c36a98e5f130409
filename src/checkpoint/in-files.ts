/** Which weights a checkpoint's files have as they rest, and where: what only is read can be read there. */
import { BYTES_OF, isBlocked } from "../base/dtype.js";
import type { StoredPiece } from "../device/checkpoint-files.js";
import { type TensorSlice, type Unit, type UnitOptions, wireOf } from "../memory/units.js";
import { type Parameter, rowsOf } from "../ops/parameter.js";
import type { TensorEntry } from "./safetensors.js";
import { STORED_AS } from "./weights.js";

/** Parameters whose bytes a file has in row-major order and in their wire dtype. */
export function asStored(
  entries: ReadonlyMap<Parameter, TensorEntry>,
  wires: Pick<UnitOptions, "wire" | "wires">,
): ReadonlySet<Parameter> {
  const found = [...entries].filter(([parameter, { dtype, strides }]) => {
    const wire = wireOf(parameter, wires);
    return strides === undefined && !isBlocked(wire) && STORED_AS[wire] === dtype;
  });
  return new Set(found.map(([parameter]) => parameter));
}

/** By unit: where the files have its tensors. What lies side by side in both is one piece. */
export function storedPieces(
  units: readonly Unit[],
  entries: ReadonlyMap<Parameter, TensorEntry>,
): readonly (readonly StoredPiece[])[] {
  return units.map(({ tensors }) => {
    const pieces: StoredPiece[] = [];
    for (const slice of tensors) {
      const entry = entries.get(slice.parameter);
      if (!slice.asStored || slice.count === 0 || entry === undefined) continue;
      const piece = pieceOf(slice, entry);
      const last = pieces.at(-1);
      if (last !== undefined && continues(last, piece))
        pieces.splice(-1, 1, { ...last, bytes: last.bytes + piece.bytes });
      else pieces.push(piece);
    }
    return pieces;
  });
}

function pieceOf({ parameter, rowStart, count, wire, wireOffset }: TensorSlice, entry: TensorEntry): StoredPiece {
  const first = rowStart * rowsOf(parameter).width;
  return {
    path: entry.file,
    fileOffset: entry.offset + first * BYTES_OF[wire],
    unitOffset: wireOffset,
    bytes: count * BYTES_OF[wire],
  };
}

function continues(before: StoredPiece, piece: StoredPiece): boolean {
  return (
    before.path === piece.path &&
    before.fileOffset + before.bytes === piece.fileOffset &&
    before.unitOffset + before.bytes === piece.unitOffset
  );
}
