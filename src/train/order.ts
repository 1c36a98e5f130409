import { type Indexed, Sampler } from "../data/index.js";

/** The batch of each step, as a function of (seed, step): a run that goes on meets the same batches. */
export class BatchOrder<T> {
  private sampler: Sampler;
  private at = 0;

  constructor(
    private readonly items: Indexed<T>,
    private readonly seed: bigint,
    private readonly batchSize: number,
  ) {
    this.sampler = this.newSampler();
  }

  /** Ascending steps are cheap; one that was passed, as where steps are taken again, has all before it drawn anew. */
  batch(step: number): Promise<T[]> {
    return Promise.all(this.indices(step).map((i) => this.items.at(i)));
  }

  /** Of the batch's items. */
  indices(step: number): number[] {
    const begin = step * this.batchSize;
    if (begin < this.at) {
      this.sampler = this.newSampler();
      this.at = 0;
    }
    while (this.at < begin) {
      this.sampler.next();
      this.at++;
    }
    const indices = Array.from({ length: this.batchSize }, () => this.sampler.next());
    this.at += this.batchSize;
    return indices;
  }

  private newSampler(): Sampler {
    return new Sampler({ size: this.items.size, seed: this.seed });
  }
}
