import { Zo2Error } from "../errors.js";
import { commonPrefix, NOT_SCORED, type EncodedChoices, type EncodedExample, type EncodedTokens } from "./encode.js";

/** One micro-batch, packed without padding. All tables are int32. */
export interface PackedBatch {
  /** [rows] token ids. */
  readonly tokens: Int32Array;
  /** [rows] position of each token in its own sequence, from 0. */
  readonly positions: Int32Array;
  /** [sequences x 4] start, length, prefixStart, prefixLength, in rows: a sequence attends to its prefix rows whole and to itself causally. */
  readonly sequences: Int32Array;
  /** [headRows] rows whose logits are needed, ascending, each once. */
  readonly headRows: Int32Array;
  /** [targets x 2] index into headRows, token id to score. In batch order. */
  readonly targets: Int32Array;
  /** How the log-probabilities of the targets become one loss. */
  readonly objective: Objective;
}

export type Objective =
  | { readonly kind: "tokens" }
  | {
      readonly kind: "choices";
      readonly reduction: Reduction;
      /** [choices x 2] begin, end into targets */
      readonly choices: Int32Array;
      /** [examples x 3] begin, end into choices, label */
      readonly examples: Int32Array;
    };

/** Whether a choice's score is the mean or the sum of its tokens' log-probabilities. */
export type Reduction = "mean" | "sum";

export interface PackOptions {
  /** @default "mean" */
  readonly reduction?: Reduction;
}

/** Columns of the tables. */
export const SEQUENCE_FIELDS = 4;
export const TARGET_FIELDS = 2;
export const CHOICE_FIELDS = 2;
export const EXAMPLE_FIELDS = 3;

/**
 * Packs encoded examples, all of one kind, into the rows that must be computed and no more: what several choices share
 * is one sequence, and rows from which nothing is predicted and to which nothing attends are left out. Throws
 * `ZO2_ERR_INVALID_ARGUMENT` for mixed kinds, `ZO2_ERR_DATA` where no token is labelled.
 */
export function packBatch(examples: readonly EncodedExample[], options: PackOptions = {}): PackedBatch {
  const packer = new Packer();
  const choices: number[] = [];
  const table: number[] = [];
  const kind = examples[0]?.kind ?? "tokens";
  for (const [i, example] of examples.entries()) {
    if (example.kind !== kind) {
      throw new Zo2Error("ZO2_ERR_INVALID_ARGUMENT", `examples 0 and ${i} of the batch are of the kinds ${kind} and ${example.kind}; a batch has one objective`);
    }
    if (example.kind === "tokens") {
      packer.addTokens(example, i);
      continue;
    }
    const begin = choices.length / CHOICE_FIELDS;
    choices.push(...packer.addChoices(example, i));
    table.push(begin, choices.length / CHOICE_FIELDS, example.label);
  }
  const objective: Objective =
    kind === "tokens"
      ? { kind }
      : { kind, reduction: options.reduction ?? "mean", choices: Int32Array.from(choices), examples: Int32Array.from(table) };
  return packer.finish(objective);
}

/** What a batch's loss is divided by: labelled tokens, or examples with choices. */
export function labelledCount(batch: PackedBatch): number {
  return batch.objective.kind === "tokens" ? batch.targets.length / TARGET_FIELDS : batch.objective.examples.length / EXAMPLE_FIELDS;
}

class Packer {
  private readonly tokens: number[] = [];
  private readonly positions: number[] = [];
  private readonly sequences: number[] = [];
  /** [targets x 2] row, token id. */
  private readonly scored: number[] = [];

  addTokens({ ids, labels }: EncodedTokens, index: number): void {
    if (ids.length !== labels.length) {
      throw new Zo2Error("ZO2_ERR_INVALID_ARGUMENT", `example ${index} of the batch has ${ids.length} tokens and ${labels.length} labels`);
    }
    let last = labels.length - 1;
    while (last > 0 && labels[last] === NOT_SCORED) last--;
    // Token `last` is predicted, and nothing is predicted from it.
    if (last < 1) return;
    const start = this.addSequence(ids, 0, last, 0, 0);
    for (let t = 1; t <= last; t++) {
      const label = labels[t] ?? NOT_SCORED;
      if (label !== NOT_SCORED) this.scored.push(start + t - 1, label);
    }
  }

  /** Adds one example's choices; returns [choices x 2] begin, end into targets. */
  addChoices({ choices, label }: EncodedChoices, index: number): number[] {
    const fail = (what: string) => new Zo2Error("ZO2_ERR_INVALID_ARGUMENT", `example ${index} of the batch: ${what}`);
    const first = choices[0];
    if (first === undefined) throw fail("has no choices");
    if (!(Number.isInteger(label) && label >= 0 && label < choices.length)) throw fail(`label ${label} of ${choices.length} choices`);
    for (const { ids, from } of choices) if (!(from >= 1 && from < ids.length)) throw fail(`scoring from token ${from} of ${ids.length}`);
    const shared = Math.min(...choices.map(({ ids }) => commonPrefix(first.ids, ids)));
    if (shared < 1) throw fail("its choices share no token");
    const branches = choices.some(({ ids }) => ids.length > shared);
    // Where no choice goes on, nothing is predicted from the last shared token.
    const prefixLength = branches ? shared : shared - 1;
    const prefix = this.addSequence(first.ids, 0, prefixLength, 0, 0);
    const ranges: number[] = [];
    for (const { ids, from } of choices) {
      const own = ids.length > shared + 1 ? this.addSequence(ids, shared, ids.length - 1, prefix, prefixLength) : 0;
      ranges.push(this.scored.length / TARGET_FIELDS);
      for (let t = from; t < ids.length; t++) {
        this.scored.push(t <= shared ? prefix + t - 1 : own + t - 1 - shared, ids[t] ?? 0);
      }
      ranges.push(this.scored.length / TARGET_FIELDS);
    }
    return ranges;
  }

  /** Rows for the tokens [begin, end) of a sequence; returns the first. */
  private addSequence(ids: Int32Array, begin: number, end: number, prefixStart: number, prefixLength: number): number {
    const start = this.tokens.length;
    for (let t = begin; t < end; t++) {
      this.tokens.push(ids[t] ?? 0);
      this.positions.push(t);
    }
    this.sequences.push(start, end - begin, prefixStart, prefixLength);
    return start;
  }

  finish(objective: Objective): PackedBatch {
    if (this.scored.length === 0) throw new Zo2Error("ZO2_ERR_DATA", "the batch has no labelled token, so it has no loss");
    const needed = new Uint8Array(this.tokens.length);
    for (let i = 0; i < this.scored.length; i += TARGET_FIELDS) needed[this.scored[i] ?? 0] = 1;
    const headRows: number[] = [];
    const indexOf = new Int32Array(needed.length);
    for (let row = 0; row < needed.length; row++) if (needed[row] === 1) indexOf[row] = headRows.push(row) - 1;
    const targets = Int32Array.from(this.scored, (value, i) => (i % TARGET_FIELDS === 0 ? (indexOf[value] ?? 0) : value));
    return {
      tokens: Int32Array.from(this.tokens),
      positions: Int32Array.from(this.positions),
      sequences: Int32Array.from(this.sequences),
      headRows: Int32Array.from(headRows),
      targets,
      objective,
    };
  }
}
