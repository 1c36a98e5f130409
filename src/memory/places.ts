import { align, BYTES_OF, type FloatType } from "../base/dtype.js";
import type { UnitOp } from "../ops/encode.js";
import { isParameter, valuesOf } from "../ops/record.js";
import type { Op } from "../ops/row.js";
import type { Output, RowSymbol, Value } from "../ops/value.js";
import { storageTypes } from "./storage.js";
import type { Unit } from "./units.js";

/** The largest batch that a plan can hold, per micro-batch; `tableRows` for the whole batch. */
export interface Capacity extends Readonly<Record<RowSymbol, number>> {
  readonly microBatches: number;
  /** int32 words of the tables that turn log-probabilities into a loss (choices and examples). */
  readonly objectiveWords: number;
}

/**
 * Where an activation lies: in the area that lives from unit to unit (one per probe and micro-batch), or within one
 * run.
 */
export interface Place {
  readonly space: "carried" | "workspace" | "results";
  readonly offset: number;
  readonly bytes: number;
  readonly type: FloatType;
}

/** A value that passes between units, in its area: its rows lie one behind the other. */
export interface CarriedValue extends Pick<Place, "offset" | "type">, Pick<Value, "rows" | "columns"> {}

/** Of an area, what has to be there for a unit to run, and what it has changed of that which a later unit uses. */
export interface Carries {
  readonly brings: readonly CarriedValue[];
  readonly takes: readonly CarriedValue[];
}

export interface Places {
  readonly of: ReadonlyMap<number, Place>;
  /** By unit. */
  readonly carries: readonly Carries[];
  /** Bytes of one carried area, of the workspace, and of one result. */
  readonly carriedBytes: number;
  readonly workspaceBytes: number;
  readonly resultBytes: number;
}

/** Bytes of a value with so many rows. */
export function carriedValueBytes(
  { type, rows, columns }: CarriedValue,
  symbols: Readonly<Record<RowSymbol, number>>,
): number {
  return (typeof rows === "number" ? rows : symbols[rows]) * columns * BYTES_OF[type];
}

interface Life {
  readonly value: Value;
  first: number;
  last: number;
}

/** Bytes that the largest batch needs for a value, and its type. */
type Sized = (value: Value) => { readonly bytes: number; readonly type: FloatType };

/**
 * Gives every activation a place. Values used by more than one unit are carried: they share memory only when no unit
 * sees both. The others live in the workspace, where they share memory when no op sees both. What an op makes takes the
 * place of the operand that its row names (`OpRow.over`), where nothing needs that any more.
 */
export function placeValues(units: readonly Unit[], capacity: Capacity, compute: FloatType, output: Output): Places {
  const types = storageTypes(
    units.flatMap((unit) => unit.ops.map(({ op }) => op)),
    compute,
  );
  const sized: Sized = (value) => {
    const type = types.get(value.id) ?? "fp32";
    const rows = typeof value.rows === "number" ? value.rows : capacity[value.rows];
    return { bytes: align(rows * value.columns * BYTES_OF[type]), type };
  };
  const of = new Map<number, Place>();
  const place = inPlace(units, types, output);
  const used = (op: UnitOp) => valuesOf(op.op, output).map((v) => place.get(v) ?? v);
  const byUnit = lives(units.map((u) => u.ops.flatMap(used)));

  let resultBytes = 0;
  for (const { value } of byUnit.filter((l) => l.value.kind === "result")) {
    const size = sized(value);
    of.set(value.id, { space: "results", offset: resultBytes, ...size });
    resultBytes += size.bytes;
  }

  const passing = byUnit.filter(({ value, first, last }) => value.kind === "activation" && first !== last);
  const carried = firstFit(passing, sized);
  for (const [id, at] of carried.places) of.set(id, { space: "carried", ...at });

  let workspaceBytes = 0;
  for (const unit of units) {
    const local = lives(unit.ops.map(used)).filter((l) => l.value.kind === "activation" && !of.has(l.value.id));
    const fitted = firstFit(local, sized);
    for (const [id, at] of fitted.places) of.set(id, { space: "workspace", ...at });
    workspaceBytes = Math.max(workspaceBytes, fitted.bytes);
  }
  for (const [value, root] of place) {
    const shared = of.get(root.id);
    if (shared !== undefined) of.set(value.id, shared);
  }
  const written = (op: UnitOp) => valuesOf(op.op, output, "out").map((v) => place.get(v) ?? v);
  const carries = carriesOf(units, passing, carried.places, { used, written });
  return { of, carries, carriedBytes: carried.bytes, workspaceBytes, resultBytes };
}

/** What a unit does not touch of an area stays as it is, wherever the area rests. */
function carriesOf(
  units: readonly Unit[],
  passing: readonly Life[],
  places: ReadonlyMap<number, Omit<Place, "space">>,
  { used, written }: Readonly<Record<"used" | "written", (op: UnitOp) => readonly Value[]>>,
): readonly Carries[] {
  const lifeOf = new Map(passing.map((life) => [life.value.id, life]));
  return units.map(({ ops }, u) => {
    const among = (of: (op: UnitOp) => readonly Value[], isWanted: (life: Life) => boolean): CarriedValue[] =>
      [...new Set(ops.flatMap(of))].flatMap(({ id, rows, columns }) => {
        const [life, place] = [lifeOf.get(id), places.get(id)];
        if (life === undefined || place === undefined || !isWanted(life)) return [];
        return [{ offset: place.offset, type: place.type, rows, columns }];
      });
    return { brings: among(used, ({ first }) => first < u), takes: among(written, ({ last }) => last > u) };
  });
}

/**
 * For each value that an op may write over one of its operands, when that operand is not used after it: the value whose
 * place it takes.
 */
function inPlace(
  units: readonly Unit[],
  types: ReadonlyMap<number, FloatType>,
  output: Output,
): ReadonlyMap<Value, Value> {
  const lastUse = new Map<Value, Op>();
  const ops = units.flatMap((u) => u.ops.map((o) => o.op));
  for (const op of ops) for (const value of valuesOf(op, output)) lastUse.set(value, op);
  const root = new Map<Value, Value>();
  for (const op of new Set(ops)) {
    const over = overwritten(op);
    const out = op.operands["out"] ?? null;
    if (over === null || out === null || isParameter(out)) continue;
    if (over.kind !== "activation" || over.view !== undefined || lastUse.get(over) !== op) continue;
    if (over.columns === out.columns && types.get(over.id) === types.get(out.id)) root.set(out, root.get(over) ?? over);
  }
  return root;
}

/** The operand that an op's result may take the place of, unless it is another operand of the op too. */
function overwritten({ row, operands }: Op): Value | null {
  const over = row.over === undefined ? null : (operands[row.over] ?? null);
  if (over === null || isParameter(over)) return null;
  return Object.values(operands).filter((operand) => operand === over).length > 1 ? null : over;
}

/** First and last position (inclusive) at which each value is used. */
function lives(uses: readonly (readonly Value[])[]): Life[] {
  const found = new Map<number, Life>();
  uses.forEach((values, at) => {
    for (const value of values) {
      const life = found.get(value.id);
      if (life === undefined) found.set(value.id, { value, first: at, last: at });
      else life.last = at;
    }
  });
  return [...found.values()];
}

/** Lowest offset at which a value meets no other value whose life overlaps its own. */
function firstFit(values: readonly Life[], sized: Sized): { places: Map<number, Omit<Place, "space">>; bytes: number } {
  const placed: { life: Life; offset: number; bytes: number; type: FloatType }[] = [];
  let total = 0;
  for (const life of values) {
    const { bytes, type } = sized(life.value);
    const rivals = placed
      .filter((p) => p.life.first <= life.last && life.first <= p.life.last)
      .sort((a, b) => a.offset - b.offset);
    let offset = 0;
    for (const rival of rivals) {
      if (offset + bytes <= rival.offset) break;
      offset = Math.max(offset, rival.offset + rival.bytes);
    }
    placed.push({ life, offset, bytes, type });
    total = Math.max(total, offset + bytes);
  }
  return { places: new Map(placed.map(({ life, ...place }) => [life.value.id, place])), bytes: total };
}
