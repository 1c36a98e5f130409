import { type Dataset, type Example, Sampler } from "../data/index.js";

/** The batch of each step, as a function of (seed, step): a run that goes on meets the same batches. */
export class BatchOrder {
  private readonly sampler: Sampler;
  private at = 0;

  constructor(
    private readonly dataset: Dataset,
    seed: bigint,
    private readonly batchSize: number,
  ) {
    this.sampler = new Sampler({ size: dataset.size, seed });
  }

  /** Steps are asked for in ascending order. */
  async batch(step: number): Promise<Example[]> {
    const begin = step * this.batchSize;
    while (this.at < begin) {
      this.sampler.next();
      this.at++;
    }
    const indices = Array.from({ length: this.batchSize }, () => this.sampler.next());
    this.at += this.batchSize;
    return Promise.all(indices.map((i) => this.dataset.at(i)));
  }
}
