import { at } from "../base/at.js";
import { Zo2Error } from "../base/errors.js";
import { commonPrefix } from "./tokens.js";
import {
  NOT_SCORED,
  type EncodedChoices,
  type EncodedExample,
  type EncodedTokens,
  type EncodedLabelled,
  type EncodedSpan,
} from "./encoded.js";

/** One micro-batch, packed without padding. All tables are int32. */
export interface PackedBatch {
  /** [rows] token ids. */
  readonly tokens: Int32Array;
  /** [rows] position of each token in its own sequence, from 0. */
  readonly positions: Int32Array;
  /**
   * [sequences x 5] start, length, prefixStart, prefixLength, keyStart, in rows: a sequence attends to its prefix rows
   * whole and to itself causally. Its own keys begin at keyStart: its rows, or where the cache has them.
   */
  readonly sequences: Int32Array;
  /** [headRows] rows whose logits are needed, ascending, each once. */
  readonly headRows: Int32Array;
  /** [targets x 2] index into headRows, token id to score. In batch order. */
  readonly targets: Int32Array;
  /**
   * [rows] where the key and value of each row go in the cache, or behind what stands in front of sequences; only for
   * passes that keep them, or have such a thing.
   */
  readonly cacheRows?: Int32Array;
  /** Rows of keys and values of an adapter that stand in front of sequences. */
  readonly prefix?: PrefixRows;
  /** How what the head leaves behind becomes one loss. */
  readonly objective: Objective;
}

export interface PrefixRows {
  /** [prefixRows] which of the adapter's rows. */
  readonly ids: Int32Array;
  /** [prefixRows] where they go, as `cacheRows`. */
  readonly places: Int32Array;
}

/** From log-probabilities of targets (tokens, choices), or from logits of head rows (values, spans, none). */
export type Objective =
  /** Cross entropy, summed over targets: next tokens, or the classes of a classifier. */
  | { readonly kind: "tokens" }
  | {
      readonly kind: "choices";
      readonly reduction: Reduction;
      /** [choices x 2] begin, end into targets */
      readonly choices: Int32Array;
      /** [examples x 3] begin, end into choices, label */
      readonly examples: Int32Array;
    }
  /** Binary cross entropy or squared error of every logit; labels: [headRows x columns]. */
  | { readonly kind: "values"; readonly loss: "binary" | "squared"; readonly labels: Float32Array }
  /**
   * Cross entropy of the start and of the end of an answer, by halves; examples: [examples x 4] begin, end (head rows),
   * start, end from begin, or -100.
   */
  | { readonly kind: "spans"; readonly examples: Int32Array }
  /** The logits are all that is asked for. */
  | { readonly kind: "none" };

/** What the head has to leave behind for an objective. */
export function outputOf(objective: Objective): "logprobs" | "logits" {
  return objective.kind === "tokens" || objective.kind === "choices" ? "logprobs" : "logits";
}

/** Whether a choice's score is the mean or the sum of its tokens' log-probabilities. */
export type Reduction = "mean" | "sum";

export interface PackOptions {
  /** @default "mean" */
  readonly reduction?: Reduction;
}

/** Columns of the tables. */
export { SEQUENCE_FIELDS } from "../ops/value.js";
export const TARGET_FIELDS = 2;
export const CHOICE_FIELDS = 2;
export const EXAMPLE_FIELDS = 3;
export const SPAN_FIELDS = 4;

/**
 * Packs encoded examples, all of one kind, into the rows that must be computed and no more: what several choices share
 * is one sequence, and rows from which nothing is predicted and to which nothing attends are left out. Throws
 * `ZO2_ERR_INVALID_ARGUMENT` for mixed kinds, `ZO2_ERR_DATA` where no token is labelled.
 */
export function packBatch(examples: readonly EncodedExample[], options: PackOptions = {}): PackedBatch {
  const packer = new Packer();
  const choices: number[] = [];
  const table: number[] = [];
  const labels: number[] = [];
  const kind = examples[0]?.kind ?? "tokens";
  for (const [i, example] of examples.entries()) {
    if (example.kind !== kind) {
      throw new Zo2Error(
        "ZO2_ERR_INVALID_ARGUMENT",
        `examples 0 and ${i} of the batch are of the kinds ${kind} and ${example.kind}; a batch has one objective`,
      );
    }
    switch (example.kind) {
      case "tokens":
        packer.addTokens(example, i);
        break;
      case "choices": {
        const begin = choices.length / CHOICE_FIELDS;
        choices.push(...packer.addChoices(example, i));
        table.push(begin, choices.length / CHOICE_FIELDS, example.label);
        break;
      }
      case "labelled":
        labels.push(...packer.addLabelled(example));
        break;
      case "span":
        table.push(...packer.addSpan(example));
        break;
    }
  }
  return packer.finish(objectiveOf());

  function objectiveOf(): Objective {
    switch (kind) {
      case "tokens":
        return { kind };
      case "choices":
        return {
          kind,
          reduction: options.reduction ?? "mean",
          choices: Int32Array.from(choices),
          examples: Int32Array.from(table),
        };
      case "span":
        return { kind: "spans", examples: Int32Array.from(table) };
      case "labelled": {
        const problem = examples[0]?.kind === "labelled" ? examples[0].problem : "regression";
        if (problem === "single_label_classification") return { kind: "tokens" };
        return {
          kind: "values",
          loss: problem === "regression" ? "squared" : "binary",
          labels: Float32Array.from(labels),
        };
      }
    }
  }
}

/**
 * Packs token sequences for the logits at positions of each (indices into its tokens, ascending, each once), without an
 * objective.
 */
export function packPositions(
  sequences: readonly { readonly ids: Int32Array; readonly positions: readonly number[] }[],
): PackedBatch {
  const packer = new Packer();
  for (const { ids, positions } of sequences) packer.addPositions(ids, positions);
  return packer.finish({ kind: "none" });
}

/** What a batch's loss is divided by: labelled tokens, examples with choices or spans, or labelled logits. */
export function labelledCount({ objective, targets }: PackedBatch): number {
  switch (objective.kind) {
    case "tokens":
      return targets.length / TARGET_FIELDS;
    case "choices":
      return objective.examples.length / EXAMPLE_FIELDS;
    case "values":
      return objective.labels.length;
    case "spans":
      return objective.examples.length / SPAN_FIELDS;
    case "none":
      return 0;
  }
}

class Packer {
  private readonly tokens: number[] = [];
  private readonly positions: number[] = [];
  private readonly sequences: number[] = [];
  /** [targets x 2] row, token id. */
  private readonly scored: number[] = [];
  /** Rows whose logits are asked for without a target. */
  private readonly asked: number[] = [];

  addTokens({ ids, labels }: EncodedTokens, index: number): void {
    if (ids.length !== labels.length) {
      throw new Zo2Error(
        "ZO2_ERR_INVALID_ARGUMENT",
        `example ${index} of the batch has ${ids.length} tokens and ${labels.length} labels`,
      );
    }
    let last = labels.length - 1;
    while (last > 0 && labels[last] === NOT_SCORED) last--;
    // Token `last` is predicted, and nothing is predicted from it.
    if (last < 1) return;
    const start = this.addSequence(ids, 0, last, 0, 0);
    for (let t = 1; t <= last; t++) {
      const label = at(labels, t);
      if (label !== NOT_SCORED) this.scored.push(start + t - 1, label);
    }
  }

  /** Adds one example's choices; returns [choices x 2] begin, end into targets. */
  addChoices({ choices, label }: EncodedChoices, index: number): number[] {
    const fail = (what: string) => new Zo2Error("ZO2_ERR_INVALID_ARGUMENT", `example ${index} of the batch: ${what}`);
    const first = choices[0];
    if (first === undefined) throw fail("has no choices");
    if (!(Number.isInteger(label) && label >= 0 && label < choices.length))
      throw fail(`label ${label} of ${choices.length} choices`);
    for (const { ids, from } of choices)
      if (!(from >= 1 && from < ids.length)) throw fail(`scoring from token ${from} of ${ids.length}`);
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
        this.scored.push(t <= shared ? prefix + t - 1 : own + t - 1 - shared, at(ids, t));
      }
      ranges.push(this.scored.length / TARGET_FIELDS);
    }
    return ranges;
  }

  /** Adds a text to classify; returns its labels as values, none when they are a target. */
  addLabelled({ ids, labels, problem }: EncodedLabelled): readonly number[] {
    const last = this.addSequence(ids, 0, ids.length, 0, 0) + ids.length - 1;
    if (problem === "single_label_classification") {
      this.scored.push(last, at(labels, 0));
      return [];
    }
    this.asked.push(last);
    return labels;
  }

  /** Adds a text with an answer, every row of which the head reads; returns [begin, end, start, end] in head rows. */
  addSpan({ ids, start, end }: EncodedSpan): number[] {
    const begin = this.asked.length;
    const first = this.addSequence(ids, 0, ids.length, 0, 0);
    for (let t = 0; t < ids.length; t++) this.asked.push(first + t);
    return [begin, this.asked.length, start, end];
  }

  addPositions(ids: Int32Array, positions: readonly number[]): void {
    const first = this.addSequence(ids, 0, ids.length, 0, 0);
    for (const position of positions) this.asked.push(first + position);
  }

  /** Rows for the tokens [begin, end) of a sequence; returns the first. */
  private addSequence(ids: Int32Array, begin: number, end: number, prefixStart: number, prefixLength: number): number {
    const start = this.tokens.length;
    for (let t = begin; t < end; t++) {
      this.tokens.push(at(ids, t));
      this.positions.push(t);
    }
    this.sequences.push(start, end - begin, prefixStart, prefixLength, start);
    return start;
  }

  finish(objective: Objective): PackedBatch {
    if (this.scored.length === 0 && this.asked.length === 0)
      throw new Zo2Error("ZO2_ERR_DATA", "the batch has no labelled token, so it has no loss");
    const needed = new Uint8Array(this.tokens.length);
    for (let i = 0; i < this.scored.length; i += TARGET_FIELDS) needed[at(this.scored, i)] = 1;
    for (const row of this.asked) needed[row] = 1;
    const headRows: number[] = [];
    const indexOf = new Int32Array(needed.length);
    for (let row = 0; row < needed.length; row++) if (needed[row] === 1) indexOf[row] = headRows.push(row) - 1;
    const targets = Int32Array.from(this.scored, (value, i) => (i % TARGET_FIELDS === 0 ? at(indexOf, value) : value));
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
