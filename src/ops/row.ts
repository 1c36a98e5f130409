/** What a row of the table of ops can say: see `table.ts`. */
import type { Parameter } from "./parameter.js";
import type { Inputs, Output, Shape, Value } from "./value.js";

/** What an op works with in the place of an operand. */
export type Operand = Value | Parameter;

/** The operands and attributes of an op, by the names of its row. */
export interface Given {
  value(name: string): Value;
  /** Rows and columns of a weight: of a parameter, or of a value that was made of one. */
  weight(name: string): { readonly rows: number; readonly columns: number };
}

interface Out {
  readonly role: "out";
  readonly shape: (given: Given) => Shape;
  /** @default "activation" */
  readonly kind?: Value["kind"];
  /** Made only in passes whose head leaves this behind. @default in every pass */
  readonly when?: Output;
}
interface In {
  readonly role: "in";
}
interface Weight {
  readonly role: "weight";
}
/** A table of the batch, which the recorder puts in by itself. */
interface Table {
  readonly role: "table";
  readonly input: keyof Inputs;
  readonly when?: Output;
}

export type OperandRole = (Out | In | Weight | Table) & { readonly optional?: boolean };

/** A number, or several, of the op's words. */
export interface Attribute<T> {
  readonly words: (value: T) => readonly number[];
  readonly otherwise?: T;
}

/** Which rows of a weight one part of an op works with, where it was cut along them. */
export interface Slice {
  readonly start: number;
  readonly count: number;
  readonly first: boolean;
  readonly last: boolean;
}

/** How an op is cut along the rows of a weight that is larger than a unit. */
export interface Cut {
  /** The operand whose rows are cut. */
  readonly along: string;
  /** Operands of which a part works with the same columns as with rows of the weight. */
  readonly columns?: readonly string[];
  /** Words that say which rows these are; they stand between the operands and the attributes. */
  readonly words?: (slice: Slice) => readonly number[];
}

/** One op of the table, before a pass decides how its head and its attention are run. */
export interface OpRow {
  /** Its number in contract/zo2.h; null for an op that only stands for others (`lower.ts`). */
  readonly code: number | null;
  /** In the order of the op's words. */
  readonly operands: Readonly<Record<string, OperandRole>>;
  /** In the order of the op's words, behind the operands. */
  // biome-ignore lint/suspicious/noExplicitAny: each attribute has a type of its own, which `Attributes` below keeps.
  readonly attributes: Readonly<Record<string, Attribute<any>>>;
  /**
   * Operands that form one sum, and are stored in fp32 where all of them are there. Everything else that an op makes is
   * stored in the compute dtype, in which a matrix product takes it anyway.
   */
  readonly sum?: readonly string[];
  /** The attribute that says that the sum stands inside the op: what is made of it is stored as everything else. */
  readonly inner?: string;
  /** The operand whose storage type the result has, when it only moves rows. */
  readonly like?: string;
  /** The operand whose memory the result may take, when nothing needs it afterwards ("own memory" in zo2.h). */
  readonly over?: string;
  /** Whether it needs only those rows of its weight that a batch names, so that others need not be there. */
  readonly gathers?: boolean;
  /** Whether the result may be added onto a value that is there, which `onto` names when it is recorded. */
  readonly accumulates?: boolean;
  /** Whether it never stands in another unit than the op behind it, which is the only one to read what it makes. */
  readonly joined?: boolean;
  readonly cut?: Cut;
  /** The two operands whose product dominates its cost: x [M, K] and weight [N, K], 2 M N K operations. */
  readonly product?: readonly [x: string, weight: string];
}

export type OpTable = Readonly<Record<string, OpRow>>;

/** One operation of a recorded forward pass. */
export interface Op<K extends string = string, R extends OpRow = OpRow> {
  readonly name: K;
  readonly row: R;
  /** By the names of the row; null for an optional one that is not there. */
  readonly operands: Readonly<Record<keyof R["operands"], Operand | null>>;
  readonly attributes: Attributes<R>;
}

type TypeOf<A> = A extends Attribute<infer T> ? T : never;

export type Attributes<R extends OpRow> = { readonly [A in keyof R["attributes"]]: TypeOf<R["attributes"][A]> };

type Named<R extends OpRow, Role extends string, Optional extends boolean> = {
  [K in keyof R["operands"]]: R["operands"][K] extends { readonly role: Role }
    ? R["operands"][K] extends { readonly optional: true }
      ? Optional extends true
        ? K
        : never
      : Optional extends true
        ? never
        : K
    : never;
}[keyof R["operands"]];

type Defaulted<R extends OpRow> = {
  [A in keyof R["attributes"]]: R["attributes"][A] extends { readonly otherwise: unknown } ? A : never;
}[keyof R["attributes"]];

/** What recording an op takes: its operands and attributes by name; what it makes and the batch's tables are put in. */
export type Recordable<R extends OpRow> = { readonly [K in Named<R, "in", false>]: Value } & {
  readonly [K in Named<R, "in", true>]?: Value | null | undefined;
} & { readonly [K in Named<R, "weight", false>]: Operand } & {
  readonly [K in Named<R, "weight", true>]?: Parameter | null | undefined;
} & { readonly [A in Exclude<keyof R["attributes"], Defaulted<R>>]: TypeOf<R["attributes"][A]> } & {
  readonly [A in Defaulted<R>]?: TypeOf<R["attributes"][A]>;
} & (R extends { readonly accumulates: true } ? { readonly onto?: Value | undefined } : unknown);
