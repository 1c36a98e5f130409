import type { Op } from "../../../src/ops/row.js";
import type { Output, Value } from "../../../src/ops/value.js";
import {
  type CarriedValue,
  type Capacity,
  carriedValueBytes,
  type Place,
  type Places,
} from "../../../src/memory/places.js";
import type { UnitOp } from "../../../src/ops/encode.js";
import type { Unit } from "../../../src/memory/units.js";
import { optionalValue, operandValue } from "./ops.js";

/** Columns first .. first + count of a value. */
interface Part {
  readonly value: Value;
  readonly first: number;
  readonly count: number;
}

/**
 * What one native op reads and writes, and which operand its result may lie on, said a second time (`ZO2_OP_*` in
 * contract/zo2.h).
 */
interface Access {
  readonly reads: readonly Part[];
  readonly writes: readonly Part[];
  /** What `writes[0]` may be the own memory of. */
  readonly over: Part | null;
}

function accesses({ op, slice }: UnitOp, output: Output): Access[] {
  const all = (value: Value): Part =>
    value.view === undefined
      ? { value, first: 0, count: value.columns }
      : { value: value.view.of, first: value.view.first, count: value.columns };
  const whole = (...names: string[]) => names.map((name) => all(operandValue(op, name)));
  const cut = (value: Value): Part => (slice === null ? all(value) : { value, first: slice.start, count: slice.count });
  const [out] = "out" in op.operands ? whole("out") : [];
  switch (op.name) {
    case "embed":
      // A later part of the table leaves the rows alone that are of an earlier one.
      return op.attributes["accumulate"] === true || slice?.first === false
        ? [{ reads: [out], writes: [out], over: out }]
        : [{ reads: [], writes: [out], over: null }];
    case "linear": {
      const sum = optionalValue(op, "residual");
      const residual = sum === null ? null : cut(sum);
      // A weight that was transposed is a value.
      const weight = "kind" in (op.operands["weight"] ?? {}) ? whole("weight") : [];
      const reads = [...whole("x"), ...weight, ...(residual === null ? [] : [residual])];
      return [{ reads, writes: [cut(operandValue(op, "out"))], over: residual }];
    }
    case "transpose":
      return [{ reads: [], writes: [out], over: null }];
    case "layerNorm":
    case "rmsNorm":
    case "rope":
      return [{ reads: whole("x"), writes: [out], over: all(operandValue(op, "x")) }];
    case "gatedActivation":
      return [{ reads: whole("gate", "up"), writes: [out], over: all(operandValue(op, "gate")) }];
    case "attention":
      return [{ reads: whole("q", "k", "v"), writes: [out], over: all(operandValue(op, "q")) }];
    case "prefixedAttention":
      return [
        { reads: whole("prefixKeys", "k"), writes: whole("keys"), over: null },
        { reads: whole("prefixValues", "v"), writes: whole("values"), over: null },
        { reads: whole("q", "keys", "values"), writes: [out], over: all(operandValue(op, "q")) },
      ];
    case "gatherRows":
      return [{ reads: whole("x"), writes: [out], over: null }];
    case "head": {
      if (output === "logits") return [{ reads: whole("x"), writes: [cut(operandValue(op, "logits"))], over: null }];
      // A later tile goes on with what the one before has left.
      const running = whole("logprob", "state");
      if (slice === null || slice.first) return [{ reads: whole("x"), writes: running, over: null }];
      return [
        { reads: whole("x"), writes: [], over: null },
        { reads: running, writes: [], over: null },
        { reads: [], writes: running, over: null },
      ];
    }
    default:
      throw new Error(`nothing is known of the op ${op.name}`);
  }
}

/** The ids of the values with a place of their own that an op reads and writes. */
export function touchedValues(op: UnitOp, output: Output): Set<number> {
  return new Set(
    accesses(op, output).flatMap(({ reads, writes }) => [...reads, ...writes].map(({ value }) => value.id)),
  );
}

/**
 * Runs a pass over memory that knows, half word by half word, which element of which value was written there last.
 * Returns what is read and is not there any more, and which results lie on operands that they must not destroy.
 * @param elsewhere whether carried values rest elsewhere: a unit finds what it brings alone, and leaves what it takes.
 */
export function lostValues(
  units: readonly Unit[],
  places: Places,
  capacity: Capacity,
  output: Output,
  elsewhere = false,
): string[] {
  const atRest = new Float64Array(places.carriedBytes / 2);
  const memory = {
    carried: new Float64Array(places.carriedBytes / 2),
    workspace: new Float64Array(places.workspaceBytes / 2),
    results: new Float64Array(places.resultBytes / 2),
  };
  const lost = new Set<string>();
  const placeOf = ({ value }: Part): Place => {
    const place = places.of.get(value.id);
    if (place === undefined) throw new Error(`${value.name} has no place`);
    return place;
  };
  const rowsOf = (value: Value) => (typeof value.rows === "number" ? value.rows : capacity[value.rows]);
  const visit = (part: Part, each: (cell: number, tag: number) => void) => {
    const place = placeOf(part);
    const halves = place.type === "fp32" ? 2 : 1;
    for (let r = 0; r < rowsOf(part.value); r++) {
      for (let c = part.first; c < part.first + part.count; c++) {
        const element = r * part.value.columns + c;
        for (let h = 0; h < halves; h++)
          each(place.offset / 2 + element * halves + h, part.value.id * 2 ** 24 + element + 1);
      }
    }
  };
  const spaceOf = (part: Part) => memory[placeOf(part).space as keyof typeof memory];
  const samePlace = (a: Part, b: Part) => {
    const [p, q] = [placeOf(a), placeOf(b)];
    const samePart = a.first === b.first && a.count === b.count && a.value.columns === b.value.columns;
    return samePart && p.space === q.space && p.offset === q.offset && p.type === q.type;
  };
  const read = (part: Part, op: Op, unit: Unit) => {
    const cells = spaceOf(part);
    visit(part, (cell, tag) => {
      if (cells[cell] !== tag) lost.add(`${unit.name}: ${op.name} reads ${part.value.name}, which is not there`);
    });
  };
  for (const unit of units) {
    memory.workspace.fill(0);
    const { brings, takes } = places.carries[unit.index];
    const move = (values: readonly CarriedValue[], from: Float64Array, to: Float64Array) => {
      for (const value of values) {
        const [begin, halves] = [value.offset / 2, carriedValueBytes(value, capacity) / 2];
        to.set(from.subarray(begin, begin + halves), begin);
      }
    };
    if (elsewhere) {
      memory.carried.fill(0);
      move(brings, atRest, memory.carried);
    }
    for (const unitOp of unit.ops) {
      for (const { reads, writes, over } of accesses(unitOp, output)) {
        for (const part of reads) read(part, unitOp.op, unit);
        const operands = new Map<string, Part>();
        for (const part of reads) visit(part, (cell) => operands.set(`${placeOf(part).space} ${cell}`, part));
        for (const part of writes) {
          const cells = spaceOf(part);
          const onOver = over !== null && samePlace(part, over);
          visit(part, (cell, tag) => {
            const under = operands.get(`${placeOf(part).space} ${cell}`);
            const allowed = under === undefined || (onOver && samePlace(under, part));
            if (!allowed)
              lost.add(`${unit.name}: ${unitOp.op.name} writes ${part.value.name} over ${under.value.name}`);
            cells[cell] = tag;
          });
        }
      }
    }
    if (elsewhere) move(takes, memory.carried, atRest);
  }
  const last = units.at(-1);
  const head = last?.ops.at(-1)?.op;
  if (last === undefined || head?.name !== "head") throw new Error("the last op is not the head");
  const result = operandValue(head, output === "logits" ? "logits" : "logprob");
  read({ value: result, first: 0, count: result.columns }, head, last);
  return [...lost];
}
