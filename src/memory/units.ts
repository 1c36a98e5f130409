import { rowsOf, type Parameter } from "../ops/parameter.js";
import { parametersOf, valuesOf, type Block, type Op, type Recording, type Value } from "../ops/record.js";
import { align, BYTES_OF, storageType, type FloatType } from "../base/dtype.js";

/** A parameter, or those of its rows that one unit holds, with its place in the unit's wire bytes and in scratch. */
export interface TensorSlice {
  readonly parameter: Parameter;
  readonly rowStart: number;
  readonly rowCount: number;
  /** Elements. */
  readonly count: number;
  /** Canonical index of the first element. */
  readonly canonical: number;
  readonly wire: FloatType;
  readonly wireOffset: number;
  readonly scratch: FloatType;
  readonly scratchOffset: number;
}

/** An op of a unit; `rows` says which rows of its (first) parameter it works with when the op was cut along them. */
export interface UnitOp {
  readonly op: Op;
  readonly rows: {
    readonly start: number;
    readonly count: number;
    readonly first: boolean;
    readonly last: boolean;
  } | null;
}

/** What one transfer moves: a whole block, or a slice of it no larger than `unitBytes`. */
export interface Unit {
  readonly index: number;
  readonly name: string;
  readonly ops: readonly UnitOp[];
  readonly tensors: readonly TensorSlice[];
  /** Bytes on the wire and of W+ (or W-) in scratch; the gathered table is not among them. */
  readonly wireBytes: number;
  readonly scratchBytes: number;
  /**
   * A tied embedding at the front: the rows that the batch touches are gathered from the head's units, updated without
   * being stored and perturbed. The head's visit is the only writer of the tensor.
   */
  readonly gathered: Parameter | null;
}

export interface UnitOptions {
  readonly wire: FloatType;
  readonly compute: FloatType;
  /** Largest unit in wire bytes; absent: the largest `layer` block. A single row is never cut. */
  readonly unitBytes?: number;
}

/** Cuts a recording into units: between ops, and along the rows of a parameter that is larger than a unit. */
export function cutUnits(recording: Recording, options: UnitOptions): readonly Unit[] {
  const owner = lastUses(recording);
  const wireBytesOf = (op: Op) =>
    parametersOf(op).reduce(
      (sum, p) => sum + (owner.get(p) === op ? align(p.count * BYTES_OF[storageType(p.shape, options.wire)]) : 0),
      0,
    );
  const blockBytes = (b: Block) => b.ops.reduce((sum, op) => sum + wireBytesOf(op), 0);
  const unitBytes =
    options.unitBytes ?? Math.max(1, ...recording.blocks.filter((b) => b.kind === "layer").map(blockBytes));

  const units: Unit[] = [];
  for (const block of recording.blocks) {
    const parts = block.ops.flatMap((op): Part[] => {
      const bytes = wireBytesOf(op);
      const ops = bytes > unitBytes && isSliceable(op) ? sliceRows(op, unitBytes, options) : [{ op, rows: null }];
      return ops.map((unitOp) => ({ unitOp, bytes: bytes / ops.length }));
    });
    const pieces = groupParts(parts, unitBytes);
    pieces.forEach((piece, i) => {
      const name = pieces.length > 1 ? `${block.name}[${i}]` : block.name;
      units.push(
        layOut(
          units.length,
          name,
          piece.map((p) => p.unitOp),
          owner,
          options,
        ),
      );
    });
  }
  return units;
}

interface Part {
  readonly unitOp: UnitOp;
  /** On the wire. */
  readonly bytes: number;
}

/**
 * Groups consecutive parts into as few units as `unitBytes` allows; among those, where the fewest activations have to
 * be carried from one unit to the next. A part that is larger than a unit stands alone.
 */
function groupParts(parts: readonly Part[], unitBytes: number): Part[][] {
  const carried = carriedColumns(parts);
  // best[i]: the cheapest way to group the first i parts, and where its last group begins.
  const best: { units: number; carried: number; from: number }[] = [{ units: 0, carried: 0, from: 0 }];
  for (let end = 1; end <= parts.length; end++) {
    let filled = 0;
    let choice = { units: Infinity, carried: Infinity, from: end - 1 };
    for (let from = end - 1; from >= 0; from--) {
      filled += parts[from]?.bytes ?? 0;
      if (filled > unitBytes && from < end - 1) break;
      const before = best[from];
      if (before === undefined) break;
      const cost = { units: before.units + 1, carried: before.carried + (carried[from] ?? 0), from };
      if (cost.units < choice.units || (cost.units === choice.units && cost.carried < choice.carried)) choice = cost;
    }
    best.push(choice);
  }
  const groups: Part[][] = [];
  for (let end = parts.length; end > 0; ) {
    const from = best[end]?.from ?? 0;
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
    for (const value of valuesOf(part.unitOp.op, "logprobs")) {
      if (value.kind !== "activation") continue;
      if (!first.has(value)) first.set(value, i);
      last.set(value, i);
    }
  });
  const columns = new Array<number>(parts.length + 1).fill(0);
  for (const [value, from] of first) {
    for (let i = from + 1; i <= (last.get(value) ?? from); i++) columns[i] = (columns[i] ?? 0) + value.columns;
  }
  return columns;
}

/**
 * The op that uses a parameter last: its unit holds the parameter. An earlier use has to be an `embed`, which gathers
 * rows.
 */
function lastUses(recording: Recording): ReadonlyMap<Parameter, Op> {
  const owner = new Map<Parameter, Op>();
  for (const block of recording.blocks) {
    for (const op of block.ops) {
      for (const parameter of parametersOf(op)) {
        const before = owner.get(parameter);
        if (before !== undefined && before.kind !== "embed") {
          throw new Error(`${parameter.name} is used twice, and its first use (${before.kind}) cannot gather rows`);
        }
        owner.set(parameter, op);
      }
    }
  }
  return owner;
}

function isSliceable(op: Op): boolean {
  return (op.kind === "linear" && op.turned === null) || op.kind === "head" || op.kind === "embed";
}

function sliceRows(op: Op, unitBytes: number, options: UnitOptions): UnitOp[] {
  const [parameter] = parametersOf(op);
  if (parameter === undefined) return [];
  const { rows } = rowsOf(parameter);
  const rowBytes = parametersOf(op).reduce(
    (sum, p) => sum + rowsOf(p).width * BYTES_OF[storageType(p.shape, options.wire)],
    0,
  );
  const perUnit = Math.max(1, Math.floor(unitBytes / rowBytes));
  const slices = Math.ceil(rows / perUnit);
  // Slices of equal size, so that slots are used evenly.
  const count = Math.ceil(rows / slices);
  const parts: UnitOp[] = [];
  for (let start = 0; start < rows; start += count) {
    const taken = Math.min(count, rows - start);
    parts.push({ op, rows: { start, count: taken, first: start === 0, last: start + taken === rows } });
  }
  return parts;
}

function layOut(
  index: number,
  name: string,
  ops: readonly UnitOp[],
  owner: ReadonlyMap<Parameter, Op>,
  options: UnitOptions,
): Unit {
  const tensors: TensorSlice[] = [];
  let wireBytes = 0;
  let scratchBytes = 0;
  let gathered: Parameter | null = null;
  for (const { op, rows } of ops) {
    for (const parameter of parametersOf(op)) {
      if (owner.get(parameter) !== op) {
        gathered = parameter;
        continue;
      }
      const whole = rowsOf(parameter);
      const rowStart = rows?.start ?? 0;
      const rowCount = rows?.count ?? whole.rows;
      const count = rowCount * whole.width;
      const wire = storageType(parameter.shape, options.wire);
      const scratch = storageType(parameter.shape, options.compute);
      tensors.push({
        parameter,
        rowStart,
        rowCount,
        count,
        canonical: parameter.canonical + rowStart * whole.width,
        wire,
        wireOffset: wireBytes,
        scratch,
        scratchOffset: scratchBytes,
      });
      wireBytes += align(count * BYTES_OF[wire]);
      scratchBytes += align(count * BYTES_OF[scratch]);
    }
  }
  return { index, name, ops, tensors, wireBytes, scratchBytes, gathered };
}
