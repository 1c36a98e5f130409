/** The log of what is pending: updates that steps have left, and units do not have yet. */

/** An update as every visit of a unit applies it. `N`: how the noise is named where it is drawn. */
export interface PendingUpdate<N> {
  /** Counter of the noise: z is a function of (seed, step, direction, element). 0 .. 2^32 - 1. */
  readonly step: number;
  readonly seed: bigint;
  readonly noise: N;
  /** Which of the step states holds the coefficients, and of how many directions. */
  readonly state: number;
  readonly directions: number;
  readonly learningRate: number;
  readonly weightDecay: number;
}

/**
 * Steps leave their updates here, oldest first, until a pass stores them. Until `commit` the last step counts as not
 * taken: what is applied then is everything but its update, and `discard` forgets it. Whatever works with it, such as a
 * step behind it, commits it.
 */
export class UpdateLog<N> {
  private pending: readonly PendingUpdate<N>[] = [];
  private committed = true;

  /** @param most updates that may be pending when a step begins. */
  constructor(private readonly most: number) {}

  /** The updates that the next step's visits apply. */
  get all(): readonly PendingUpdate<N>[] {
    return this.pending;
  }

  /** The updates that count: those that a forward pass and a flush apply. */
  get taken(): readonly PendingUpdate<N>[] {
    return this.committed ? this.pending : this.pending.slice(0, -1);
  }

  /** Whether what is pending has to be stored before one more is added. */
  get full(): boolean {
    return this.pending.length >= this.most;
  }

  add(update: PendingUpdate<N>): void {
    if (this.full) throw new Error(`${this.most} updates are pending, and none of them was stored`);
    this.pending = [...this.pending, update];
    this.committed = false;
  }

  /** The last step counts as taken from now on. @returns whether it did not before */
  commit(): boolean {
    const { committed } = this;
    this.committed = true;
    return !committed;
  }

  /** Forgets the last step's update if it was not committed. */
  discard(): void {
    this.pending = this.taken;
    this.committed = true;
  }

  /** Forgets every update: the weights that they were meant for are no more. */
  clear(): void {
    this.pending = [];
    this.committed = true;
  }

  /** A pass that stores the oldest `count` updates has been enqueued. */
  stored(count: number): void {
    this.pending = this.pending.slice(count);
    if (this.pending.length === 0) this.committed = true;
  }
}
