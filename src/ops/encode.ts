/** From ops to the words of a program ("programs" in contract/zo2.h). */
import type { Parameter } from "./parameter.js";
import { isParameter } from "./record.js";
import type { Op, Operand, Slice } from "./row.js";
import type { Value } from "./value.js";

const PROGRAM_VERSION = 4;
const ABSENT = -1;

/** An op of a unit; `slice` says which rows of its weight it works with when it was cut along them. */
export interface UnitOp {
  readonly op: Op;
  readonly slice: Slice | null;
}

/** The six words of an operand: space, offset (bytes), dtype, rows, columns, row stride (elements). */
export type OperandWords = readonly [number, number, number, number, number, number];

/** Where operands lie: what a memory plan knows of one unit. */
export interface Operands {
  /** @param columns the columns to take of it; all where it is null */
  value(value: Value, columns: { readonly start: number; readonly count: number } | null): OperandWords;
  weight(parameter: Parameter): OperandWords;
  /** The rows of a parameter that the unit works with, where its op is not cut. */
  whole(parameter: Parameter): Slice;
}

/**
 * @param ops as a pass runs them (`lower.ts`).
 * @param maxima the largest value of each symbol, by its number.
 */
export function encodeProgram(ops: readonly UnitOp[], operands: Operands, maxima: readonly number[]): Float64Array {
  const program = new ProgramWords(operands);
  for (const { op, slice } of ops) program.add(op, slice);
  return program.finish(maxima);
}

class ProgramWords {
  private readonly operands: OperandWords[] = [];
  private readonly indexOf = new Map<string, number>();
  private readonly ops: number[] = [];
  private count = 0;

  constructor(private readonly places: Operands) {}

  add({ name, row, operands, attributes }: Op, slice: Slice | null): void {
    if (row.code === null) throw new Error(`the op ${name} has no number in contract/zo2.h, and was not lowered`);
    const { cut } = row;
    const words: number[] = [];
    for (const operand of Object.keys(row.operands)) {
      const columns = slice !== null && cut?.columns?.includes(operand) === true ? slice : null;
      words.push(this.operand(operands[operand] ?? null, columns));
    }
    if (cut?.words !== undefined) words.push(...cut.words(slice ?? this.wholeOf(operands[cut.along] ?? null)));
    for (const [attribute, { words: wordsOf }] of Object.entries(row.attributes)) {
      words.push(...wordsOf(attributes[attribute]));
    }
    this.ops.push(row.code, words.length, ...words);
    this.count++;
  }

  finish(maxima: readonly number[]): Float64Array {
    return Float64Array.from([
      ...[PROGRAM_VERSION, this.operands.length, this.count, maxima.length, ...maxima],
      ...this.operands.flat(),
      ...this.ops,
    ]);
  }

  private wholeOf(operand: Operand | null): Slice {
    if (operand === null || !isParameter(operand)) throw new Error("an op is cut along the rows of a parameter only");
    return this.places.whole(operand);
  }

  private operand(operand: Operand | null, columns: Slice | null): number {
    if (operand === null) return ABSENT;
    const words = isParameter(operand) ? this.places.weight(operand) : this.places.value(operand, columns);
    const key = words.join();
    const known = this.indexOf.get(key);
    if (known !== undefined) return known;
    const index = this.operands.push(words) - 1;
    this.indexOf.set(key, index);
    return index;
  }
}
