import { type Indexed, Sampler } from "../data/index.js";

/** The batch of each step, as a function of (seed, step): a run that goes on meets the same batches. */
export class BatchOrder<T> {
  private readonly sampler: Sampler;
  private at = 0;

  constructor(
    private readonly items: Indexed<T>,
    seed: bigint,
    private readonly batchSize: number,
  ) {
    this.sampler = new Sampler({ size: items.size, seed });
  }

  /** Steps are asked for in ascending order. */
  batch(step: number): Promise<T[]> {
    return Promise.all(this.indices(step).map((i) => this.items.at(i)));
  }

  /** Of the batch's items. Steps are asked for in ascending order, of either method. */
  indices(step: number): number[] {
    const begin = step * this.batchSize;
    while (this.at < begin) {
      this.sampler.next();
      this.at++;
    }
    const indices = Array.from({ length: this.batchSize }, () => this.sampler.next());
    this.at += this.batchSize;
    return indices;
  }
}
