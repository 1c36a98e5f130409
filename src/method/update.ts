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
 * Steps leave their update here; the next pass that stores takes it along. Until `commit` the last step counts as not
 * taken: what is applied then is everything but its update, and `discard` forgets it.
 */
export class UpdateLog<N> {
  private pending: PendingUpdate<N> | null = null;
  private committed = false;

  /** The update that the next step's visits apply. */
  get all(): readonly PendingUpdate<N>[] {
    return this.pending === null ? [] : [this.pending];
  }

  /** The updates that count: those that a forward pass and a flush apply. */
  get taken(): readonly PendingUpdate<N>[] {
    return this.committed ? this.all : [];
  }

  add(update: PendingUpdate<N>): void {
    this.pending = update;
    this.committed = false;
  }

  /** The last step counts as taken from now on. */
  commit(): void {
    this.committed = this.pending !== null;
  }

  /** Forgets the last step's update if it was not committed. */
  discard(): void {
    if (!this.committed) this.pending = null;
  }

  /** A pass that stores what is pending has been enqueued. */
  applied(): void {
    this.pending = null;
    this.committed = false;
  }
}
