/** The one way in which items become batches: in order, by their number and their tokens. */
import { isZo2Error } from "../base/errors.js";
import { type EncodedExample, packBatch, type Reduction } from "../data/index.js";
import type { Batch } from "../memory/batch-tables.js";

export interface GroupLimits {
  /** Items of one group at most. */
  readonly items: number;
  /** Tokens of one group at most; a single item may exceed it. */
  readonly tokens: number;
}

/** Collects items as far as both limits allow. */
class Grouper<T> {
  private group: T[] = [];
  private tokens = 0;

  constructor(
    private readonly tokensOf: (item: T) => number,
    private readonly limits: GroupLimits,
  ) {}

  /** @returns the groups that are complete with this item: the one that it did not fit into, the one that it fills */
  add(item: T): T[][] {
    const count = this.tokensOf(item);
    const complete = this.tokens + count > this.limits.tokens ? this.take() : [];
    this.group.push(item);
    this.tokens += count;
    return this.group.length >= this.limits.items ? [...complete, ...this.take()] : complete;
  }

  /** The group begun, if there is one. */
  take(): T[][] {
    const { group } = this;
    this.group = [];
    this.tokens = 0;
    return group.length === 0 ? [] : [group];
  }
}

/** Cuts items into groups, in order. */
export function groupItems<T>(items: Iterable<T>, tokensOf: (item: T) => number, limits: GroupLimits): T[][] {
  const grouper = new Grouper(tokensOf, limits);
  const groups: T[][] = [];
  for (const item of items) groups.push(...grouper.add(item));
  return [...groups, ...grouper.take()];
}

/**
 * The same for items that come one by one. What came before an item that failed is given first; when the work is
 * stopped (ZO2_ERR_ABORTED), nothing more is.
 */
export async function* groupStream<T>(
  items: AsyncIterable<T>,
  tokensOf: (item: T) => number,
  limits: GroupLimits,
): AsyncGenerator<T[], void, undefined> {
  const grouper = new Grouper(tokensOf, limits);
  try {
    for await (const item of items) yield* grouper.add(item);
  } catch (error) {
    if (!isZo2Error(error) || error.code !== "ZO2_ERR_ABORTED") yield* grouper.take();
    throw error;
  }
  yield* grouper.take();
}

export interface PackOptions {
  readonly reduction: Reduction;
  /** Of one micro-batch: examples, and the tokens that they put on the device. */
  readonly limits: GroupLimits;
}

/** Tokens that an example puts on the device at most: choices share what they have in common. */
export function tokenCount(example: EncodedExample): number {
  return example.kind === "choices" ? example.choices.reduce((sum, c) => sum + c.ids.length, 0) : example.ids.length;
}

/** Packs examples into micro-batches, in order. */
export function packGroups(examples: readonly EncodedExample[], { reduction, limits }: PackOptions): Batch {
  return groupItems(examples, tokenCount, limits).map((group) => packBatch(group, { reduction }));
}
