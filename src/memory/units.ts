import { at } from "../base/at.js";
import {
  align,
  BYTES_OF,
  type FloatType,
  isBlocked,
  scaleBytes,
  scaleOffsetOf,
  storageType,
  storedBytes,
  type WireType,
} from "../base/dtype.js";
import type { UnitOp } from "../ops/encode.js";
import { fixedParameters, isOfAdapter, type Parameter, rowsOf } from "../ops/parameter.js";
import { type Side, sideOf } from "../ops/order.js";
import { isParameter, parametersOf, type Recording, valuesOf } from "../ops/record.js";
import type { Op } from "../ops/row.js";
import type { Value } from "../ops/value.js";

/** A parameter, or those of its rows that one unit holds, with its place in the unit's wire bytes and in scratch. */
export interface TensorSlice {
  readonly parameter: Parameter;
  readonly rowStart: number;
  readonly rowCount: number;
  /** Elements. */
  readonly count: number;
  /** Canonical index of the first element. */
  readonly canonical: number;
  readonly wire: WireType;
  readonly wireOffset: number;
  /** Of the scales of its blocks; 0 where it has none. */
  readonly scaleOffset: number;
  readonly scratch: FloatType;
  readonly scratchOffset: number;
  /** Whether a file of the checkpoint has these bytes as they rest. */
  readonly asStored: boolean;
}

/**
 * A table of which a unit works with the rows that the batch touches: a tied embedding at the front. They are gathered
 * from the units that hold it, updated without being stored and perturbed; the visits of those units are the only
 * writers of the tensor.
 */
export interface GatheredTable {
  readonly parameter: Parameter;
  /** Elements of a row. */
  readonly width: number;
  readonly wire: WireType;
  /** Where its rows lie in the unit's scratch, behind the unit's own tensors. Bytes. */
  readonly scratchOffset: number;
}

/** What one transfer moves: a whole block, or a slice of it no larger than `unitBytes`. */
export interface Unit {
  readonly index: number;
  readonly name: string;
  readonly ops: readonly UnitOp[];
  readonly tensors: readonly TensorSlice[];
  /** Bytes on the wire, and of its own tensors in scratch. */
  readonly wireBytes: number;
  readonly scratchBytes: number;
  /**
   * Whether on disk it can rest in the checkpoint's own files. They have all of it as it rests, but for vectors of
   * `asideBytes` on the wire, which host memory holds then.
   */
  readonly inFiles: boolean;
  readonly asideBytes: number;
  readonly gathered: GatheredTable | null;
}

export interface UnitOptions {
  /** Of matrices; one-dimensional parameters are fp32. */
  readonly wire: WireType;
  /** Matrices that rest in another dtype. */
  readonly wires?: ReadonlyMap<Parameter, WireType> | undefined;
  /** Those that the checkpoint's files have as they rest. @default none */
  readonly asStored?: ReadonlySet<Parameter> | undefined;
  readonly compute: FloatType;
  /** Largest unit in wire bytes; absent: the largest `layer` block. A single row is never cut. */
  readonly unitBytes?: number | undefined;
}

/** Whether a unit's program can read its wire bytes as they are, where nothing changes them. */
export function isDirect({ gathered, tensors }: Unit): boolean {
  return gathered === null && tensors.every(({ wire, scratch }) => wire === scratch);
}

/** Whether a unit is an adapter's: it stays on the device, whatever becomes of those of its base. */
export function isAdapterUnit({ tensors }: Pick<Unit, "tensors">): boolean {
  return tensors.some(({ parameter }) => isOfAdapter(parameter));
}

/** Those that are no adapter's. */
export function baseUnits(units: readonly Unit[]): readonly Unit[] {
  return units.filter((unit) => !isAdapterUnit(unit));
}

/** Of the parameters of units, those that no step ever changes. */
export function fixedIn(units: readonly Pick<Unit, "tensors">[]): ReadonlySet<Parameter> {
  return fixedParameters(units.flatMap(({ tensors }) => tensors.map(({ parameter }) => parameter)));
}

/** The dtype in which a parameter rests and travels. An adapter is small, and rests as it is computed. */
export function wireOf(parameter: Parameter, { wire, wires }: Pick<UnitOptions, "wire" | "wires">): WireType {
  return isOfAdapter(parameter) ? "fp32" : storageType(parameter.shape, wires?.get(parameter) ?? wire);
}

/** Wire bytes of some rows of a parameter, or of all. */
function wireBytesOf(parameter: Parameter, options: UnitOptions, taken?: number): number {
  const { rows, width } = rowsOf(parameter);
  return storedBytes(wireOf(parameter, options), taken ?? rows, width);
}

/** Wire bytes of the largest `layer` block: the largest unit where nothing says another size. */
export function largestLayer(recording: Recording, options: UnitOptions): number {
  const bytesOf = bytesOfOps(lastUses(recording), options);
  return Math.max(1, ...recording.blocks.filter((b) => b.kind === "layer").map((b) => bytesOf(b.ops)));
}

/** Bytes that move with ops: those of a parameter with the op that uses it last. */
function bytesOfOps(owner: ReadonlyMap<Parameter, Op>, options: UnitOptions): (ops: readonly Op[]) => number {
  const moves = (op: Op, parameter: Parameter) => owner.get(parameter) === op && !isOfAdapter(parameter);
  const bytesOf = (op: Op) =>
    parametersOf(op).reduce((sum, p) => sum + (moves(op, p) ? wireBytesOf(p, options) : 0), 0);
  return (ops) => ops.reduce((sum, op) => sum + bytesOf(op), 0);
}

/**
 * Cuts a recording into units: between ops, and along the rows of a parameter that is larger than a unit. None has
 * parameters of an adapter and of its base.
 */
export function cutUnits(recording: Recording, options: UnitOptions): readonly Unit[] {
  const owner = lastUses(recording);
  const blockBytes = bytesOfOps(owner, options);
  const unitBytes = options.unitBytes ?? largestLayer(recording, options);

  const units: Unit[] = [];
  for (const block of recording.blocks) {
    const parts = joined(block.ops).flatMap((ops): Part[] => {
      const bytes = blockBytes(ops);
      const [op] = ops;
      if (bytes <= unitBytes || ops.length > 1 || op === undefined || cutParameter(op) === null) {
        return [{ ops: ops.map((whole) => ({ op: whole, slice: null })), bytes, side: sideOf(ops) }];
      }
      return sliceRows(op, unitBytes, options);
    });
    const pieces = groupParts(parts, unitBytes);
    pieces.forEach((piece, i) => {
      const name = pieces.length > 1 ? `${block.name}[${i}]` : block.name;
      const ops = piece.flatMap((part) => part.ops);
      units.push(layOut({ index: units.length, name, ops }, owner, options));
    });
  }
  return units;
}

/** Ops that are never torn apart. */
interface Part {
  readonly ops: readonly UnitOp[];
  /** That move. */
  readonly bytes: number;
  readonly side: Side | null;
}

/** The ops of a block, those together that have to stand in one unit. */
function joined(ops: readonly Op[]): Op[][] {
  const groups: Op[][] = [];
  let open = false;
  for (const op of ops) {
    if (open) groups.at(-1)?.push(op);
    else groups.push([op]);
    open = op.row.joined === true;
  }
  return groups;
}

/**
 * Groups consecutive parts into as few units as `unitBytes` allows; among those, where the fewest activations have to
 * be carried from one unit to the next. A part that is larger than a unit stands alone, and so does an adapter's from
 * those of the base.
 */
function groupParts(parts: readonly Part[], unitBytes: number): Part[][] {
  const carried = carriedColumns(parts);
  // best[i]: the cheapest way to group the first i parts, and where its last group begins.
  const best: { units: number; carried: number; from: number }[] = [{ units: 0, carried: 0, from: 0 }];
  for (let end = 1; end <= parts.length; end++) {
    let filled = 0;
    const sides = new Set<Side>();
    let choice = { units: Infinity, carried: Infinity, from: end - 1 };
    for (let from = end - 1; from >= 0; from--) {
      const { bytes, side } = at(parts, from);
      filled += bytes;
      if (side !== null) sides.add(side);
      if ((filled > unitBytes || sides.size > 1) && from < end - 1) break;
      const before = at(best, from);
      const cost = { units: before.units + 1, carried: before.carried + at(carried, from), from };
      if (cost.units < choice.units || (cost.units === choice.units && cost.carried < choice.carried)) choice = cost;
    }
    best.push(choice);
  }
  const groups: Part[][] = [];
  for (let end = parts.length; end > 0; ) {
    const { from } = at(best, end);
    groups.unshift(parts.slice(from, end));
    end = from;
  }
  return groups;
}

/** For each part, the columns of the activations that are used both before it and from it on. */
function carriedColumns(parts: readonly Part[]): number[] {
  const first = new Map<Value, number>();
  const last = new Map<Value, number>();
  parts.forEach((part, i) => {
    // Units are the same whatever a pass makes of the head.
    for (const value of part.ops.flatMap(({ op }) => valuesOf(op, "logprobs"))) {
      if (value.kind !== "activation") continue;
      if (!first.has(value)) first.set(value, i);
      last.set(value, i);
    }
  });
  const columns = new Array<number>(parts.length + 1).fill(0);
  for (const [value, from] of first) {
    for (let i = from + 1; i <= (last.get(value) ?? from); i++) columns[i] = at(columns, i) + value.columns;
  }
  return columns;
}

/** The op that uses a parameter last: its unit holds the parameter. An earlier use has to gather rows of it. */
function lastUses(recording: Recording): ReadonlyMap<Parameter, Op> {
  const owner = new Map<Parameter, Op>();
  for (const block of recording.blocks) {
    for (const op of block.ops) {
      for (const parameter of parametersOf(op)) {
        const before = owner.get(parameter);
        if (before !== undefined && before.row.gathers !== true) {
          throw new Error(`${parameter.name} is used twice, and its first use (${before.name}) cannot gather rows`);
        }
        owner.set(parameter, op);
      }
    }
  }
  return owner;
}

/** The parameter along whose rows an op can be cut. */
function cutParameter({ row, operands }: Op): Parameter | null {
  const along = row.cut === undefined ? null : (operands[row.cut.along] ?? null);
  return along !== null && isParameter(along) ? along : null;
}

/**
 * A slice of a linear makes as many columns as it has rows, and a product makes them in tiles of 256, 128 or 64: slices
 * are of whole tiles, the widest of which a unit has room for one. Odd numbers of columns besides cost a product its
 * fast ways to store (`sm90_store` in cuda/ops/linear_sm90_store.cuh).
 */
const TILE_ROWS = [256, 128, 64];

function rowWireBytes(width: number, type: WireType): number {
  return width * BYTES_OF[type] + (isBlocked(type) ? scaleBytes(width) : 0);
}

function sliceRows(op: Op, unitBytes: number, options: UnitOptions): Part[] {
  const parameter = cutParameter(op);
  if (parameter === null) return [];
  const { rows } = rowsOf(parameter);
  const rowBytes = parametersOf(op).map((p) => rowWireBytes(rowsOf(p).width, wireOf(p, options)));
  const most = Math.max(1, Math.floor(unitBytes / rowBytes.reduce((sum, bytes) => sum + bytes, 0)));
  // What makes no columns gains nothing, and the loss that the head sums slice by slice has its bits from the cut.
  const tiles = op.row.cut?.columns === undefined ? [] : TILE_ROWS;
  const multiple = tiles.find((tile) => tile <= most) ?? 1;
  const within = Math.floor(most / multiple) * multiple;
  // The fewest: no two of them fit in one unit, whose places know a parameter once. The last need not be a multiple.
  const slices = 1 + Math.ceil(Math.max(0, rows - most) / within);
  // Of equal size as far as that goes, so that slots are used evenly.
  const count = Math.min(within, Math.ceil(rows / slices / multiple) * multiple);
  const parts: Part[] = [];
  for (let i = 0; i < slices; i++) {
    const start = i * count;
    const last = i === slices - 1;
    const taken = last ? rows - start : count;
    const bytes = parametersOf(op).reduce((sum, p) => sum + wireBytesOf(p, options, taken), 0);
    parts.push({
      ops: [{ op, slice: { start, count: taken, first: i === 0, last } }],
      bytes,
      side: sideOf([op]),
    });
  }
  return parts;
}

/** What a slice takes on the wire. */
export function sliceBytes({ wire, rowCount, count }: TensorSlice): number {
  return storedBytes(wire, rowCount, count / rowCount);
}

function layOut(
  unit: Pick<Unit, "index" | "name" | "ops">,
  owner: ReadonlyMap<Parameter, Op>,
  options: UnitOptions,
): Unit {
  const tensors: TensorSlice[] = [];
  let wireBytes = 0;
  let scratchBytes = 0;
  let gathered: Parameter | null = null;
  for (const { op, slice } of unit.ops) {
    for (const parameter of parametersOf(op)) {
      if (owner.get(parameter) !== op) {
        gathered = parameter;
        continue;
      }
      const { rows, width } = rowsOf(parameter);
      const rowStart = slice?.start ?? 0;
      const rowCount = slice?.count ?? rows;
      const count = rowCount * width;
      const wire = wireOf(parameter, options);
      const scratch = storageType(parameter.shape, options.compute);
      const canonical = parameter.canonical + rowStart * width;
      const scaleOffset = isBlocked(wire) ? wireBytes + scaleOffsetOf(wire, rowCount, width) : 0;
      const places = { wire, wireOffset: wireBytes, scaleOffset, scratch, scratchOffset: scratchBytes };
      const asStored = options.asStored?.has(parameter) ?? false;
      tensors.push({ parameter, rowStart, rowCount, count, canonical, ...places, asStored });
      wireBytes += storedBytes(wire, rowCount, width);
      scratchBytes += align(count * BYTES_OF[scratch]);
    }
  }
  const aside = tensors.filter(({ asStored }) => !asStored);
  const known = options.asStored !== undefined && options.asStored.size > 0;
  return {
    ...unit,
    tensors,
    wireBytes,
    scratchBytes,
    inFiles: known && aside.every(({ parameter }) => parameter.shape.length < 2),
    asideBytes: aside.reduce((sum, slice) => sum + sliceBytes(slice), 0),
    gathered:
      gathered === null
        ? null
        : {
            parameter: gathered,
            width: rowsOf(gathered).width,
            wire: wireOf(gathered, options),
            scratchOffset: align(scratchBytes),
          },
  };
}
