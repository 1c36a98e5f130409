/**
 * The batches of a generation: first the prompts whole, then one token of every sequence a pass, with the cache rows
 * that each reads and fills.
 */
import { at } from "../../base/at.js";
import type { Objective, PackedBatch } from "../../data/batch.js";
import { prefixAt } from "../../data/prefix.js";
import type { RowRange } from "../../memory/cache-layout.js";
import { groupItems } from "../batching.js";

/** One sequence and its rows of the cache: `base` up to below `base + capacity`, the first `front` of an adapter. */
export interface Sequence {
  /** Among the prompts. */
  readonly index: number;
  readonly prompt: Int32Array;
  readonly base: number;
  /** Rows of keys and values in front of the prompt's. */
  readonly front: number;
  /** The last token generated is never fed, so it takes no row. */
  readonly capacity: number;
  /** Tokens generated at most. */
  readonly limit: number;
}

/** A sequence and where it stands. */
export interface Running {
  readonly sequence: Sequence;
  /** Tokens whose keys and values the cache has. */
  readonly fed: number;
  /** The token to feed next, at position `fed`. */
  readonly next: number;
}

/**
 * One pass: micro-batches, the sequences of the head rows of each, and the rows of the cache that it reads and fills.
 */
export interface CachedPass {
  readonly batch: readonly PackedBatch[];
  readonly sequences: readonly (readonly Sequence[])[];
  readonly used: readonly RowRange[];
  readonly added: readonly RowRange[];
}

/** Whatever a plan was made for, it has room for this many sequences of one token: see `capacityOf`. */
const SEQUENCES_AT_LEAST = 32;

const LOGITS: Objective = { kind: "none" };

/**
 * Gives every prompt its rows, one behind the other. `limits`: tokens to generate for each at most, from 1. `front`:
 * rows of keys and values that stand in front of every prompt's.
 */
export function layOut(prompts: readonly Int32Array[], limits: readonly number[], front: number): Sequence[] {
  let base = 0;
  return prompts.map((prompt, index) => {
    const limit = at(limits, index);
    const sequence = { index, prompt, base, front, capacity: front + prompt.length + limit - 1, limit };
    base += sequence.capacity;
    return sequence;
  });
}

/** The pass over whole prompts, in micro-batches of at most `maxTokens` tokens; one prompt alone may have more. */
export function promptPass(sequences: readonly Sequence[], maxTokens: number): CachedPass {
  const limits = { items: Number.POSITIVE_INFINITY, tokens: maxTokens };
  const groups = groupItems(sequences, ({ prompt }) => prompt.length, limits);
  const rows = (sequence: Sequence) => ({ sequence, from: 0, tokens: sequence.prompt });
  return {
    batch: groups.map((group) => pack(group.map(rows))),
    sequences: groups,
    used: [],
    added: sequences.map(({ base, front, prompt }) => ({ start: base, count: front + prompt.length })),
  };
}

/**
 * The pass over one more token of every running sequence; no micro-batch has more than fits in the plan of `first`, the
 * prompts' pass.
 */
export function nextPass(running: readonly Running[], first: CachedPass): CachedPass {
  const most = Math.max(SEQUENCES_AT_LEAST, ...first.sequences.map((sequences) => sequences.length));
  const groups = groupItems(running, () => 1, { items: most, tokens: Number.POSITIVE_INFINITY });
  return {
    batch: groups.map((group) =>
      pack(group.map(({ sequence, fed, next }) => ({ sequence, from: fed, tokens: Int32Array.of(next) }))),
    ),
    sequences: groups.map((group) => group.map(({ sequence }) => sequence)),
    used: running.map(({ sequence, fed }) => ({ start: sequence.base, count: sequence.front + fed })),
    added: running.map(({ sequence, fed }) => ({ start: sequence.base + sequence.front + fed, count: 1 })),
  };
}

/** Tokens of each sequence from position `from` on; everything before is in the cache, or stands in front of all. */
function pack(
  parts: readonly { readonly sequence: Sequence; readonly from: number; readonly tokens: Int32Array }[],
): PackedBatch {
  const rows = parts.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const tokens = new Int32Array(rows);
  const positions = new Int32Array(rows);
  const cacheRows = new Int32Array(rows);
  const sequences: number[] = [];
  const headRows: number[] = [];
  let start = 0;
  for (const { sequence, from, tokens: own } of parts) {
    const { base, front } = sequence;
    tokens.set(own, start);
    for (let t = 0; t < own.length; t++) {
      positions[start + t] = from + t;
      cacheRows[start + t] = base + front + from + t;
    }
    sequences.push(start, own.length, base, front + from, base + front + from);
    start += own.length;
    headRows.push(start - 1);
  }
  return {
    tokens,
    positions,
    cacheRows,
    ...prefixOf(parts.flatMap(({ sequence, from }) => (from === 0 ? [sequence] : []))),
    sequences: Int32Array.from(sequences),
    headRows: Int32Array.from(headRows),
    targets: new Int32Array(0),
    objective: LOGITS,
  };
}

/** Of sequences that begin in a pass: an adapter's rows, where there are any. */
function prefixOf(sequences: readonly Sequence[]): Pick<PackedBatch, "prefix"> {
  const [first] = sequences;
  if (first === undefined || first.front === 0) return {};
  return {
    prefix: prefixAt(
      sequences.map(({ base }) => base),
      first.front,
    ),
  };
}
