/**
 * The batches of a generation: first the prompts whole, then one token of every sequence a pass, with the cache rows
 * that each reads and fills.
 */
import type { Objective, PackedBatch } from "../../data/batch.js";
import type { RowRange } from "../../memory/cache-layout.js";

/** One sequence and its rows of the cache: `base` up to below `base + capacity`. */
export interface Slot {
  /** Of the sequence, among the prompts. */
  readonly index: number;
  readonly prompt: Int32Array;
  readonly base: number;
  /** The last token generated is never fed, so it takes no row. */
  readonly capacity: number;
  /** Tokens generated at most. */
  readonly limit: number;
}

/** A slot and where its sequence stands. */
export interface Running {
  readonly slot: Slot;
  /** Tokens whose keys and values the cache has. */
  readonly fed: number;
  /** The token to feed next, at position `fed`. */
  readonly next: number;
}

/** One pass: micro-batches, the slots of the head rows of each, and the rows of the cache that it reads and fills. */
export interface CachedPass {
  readonly batch: readonly PackedBatch[];
  readonly slots: readonly (readonly Slot[])[];
  readonly used: readonly RowRange[];
  readonly added: readonly RowRange[];
}

/** Whatever a plan was made for, it has room for this many sequences of one token: see `capacityOf`. */
const SEQUENCES_AT_LEAST = 32;

const LOGITS: Objective = { kind: "none" };

/** Gives every prompt its rows, one behind the other. `limits`: tokens to generate for each at most, from 1. */
export function layOut(prompts: readonly Int32Array[], limits: readonly number[]): Slot[] {
  let base = 0;
  return prompts.map((prompt, index) => {
    const limit = limits[index] ?? 1;
    const slot = { index, prompt, base, capacity: prompt.length + limit - 1, limit };
    base += slot.capacity;
    return slot;
  });
}

/** The pass over whole prompts, in micro-batches of at most `maxTokens` tokens; one prompt alone may have more. */
export function promptPass(slots: readonly Slot[], maxTokens: number): CachedPass {
  const groups: Slot[][] = [];
  let tokens = 0;
  for (const slot of slots) {
    const { length } = slot.prompt;
    const group = groups.at(-1);
    if (group === undefined || tokens + length > maxTokens) {
      groups.push([slot]);
      tokens = length;
    } else {
      group.push(slot);
      tokens += length;
    }
  }
  const rows = (slot: Slot) => ({ slot, from: 0, tokens: slot.prompt });
  return {
    batch: groups.map((group) => pack(group.map(rows))),
    slots: groups,
    used: [],
    added: slots.map(({ base, prompt }) => ({ start: base, count: prompt.length })),
  };
}

/**
 * The pass over one more token of every running sequence; no micro-batch has more than fits in the plan of `first`, the
 * prompts' pass.
 */
export function nextPass(running: readonly Running[], first: CachedPass): CachedPass {
  const most = Math.max(SEQUENCES_AT_LEAST, ...first.slots.map((slots) => slots.length));
  const groups: Running[][] = [];
  for (let i = 0; i < running.length; i += most) groups.push(running.slice(i, i + most));
  return {
    batch: groups.map((group) =>
      pack(group.map(({ slot, fed, next }) => ({ slot, from: fed, tokens: Int32Array.of(next) }))),
    ),
    slots: groups.map((group) => group.map(({ slot }) => slot)),
    used: running.map(({ slot, fed }) => ({ start: slot.base, count: fed })),
    added: running.map(({ slot, fed }) => ({ start: slot.base + fed, count: 1 })),
  };
}

/** Tokens of each slot from position `from` on; everything before is in the cache. */
function pack(
  parts: readonly { readonly slot: Slot; readonly from: number; readonly tokens: Int32Array }[],
): PackedBatch {
  const rows = parts.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const tokens = new Int32Array(rows);
  const positions = new Int32Array(rows);
  const cacheRows = new Int32Array(rows);
  const sequences: number[] = [];
  const headRows: number[] = [];
  let start = 0;
  for (const { slot, from, tokens: own } of parts) {
    tokens.set(own, start);
    for (let t = 0; t < own.length; t++) {
      positions[start + t] = from + t;
      cacheRows[start + t] = slot.base + from + t;
    }
    sequences.push(start, own.length, slot.base, from, slot.base + from);
    start += own.length;
    headRows.push(start - 1);
  }
  return {
    tokens,
    positions,
    cacheRows,
    sequences: Int32Array.from(sequences),
    headRows: Int32Array.from(headRows),
    targets: new Int32Array(0),
    objective: LOGITS,
  };
}
