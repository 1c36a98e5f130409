import { at } from "../base/at.js";
import { Zo2Error } from "../base/errors.js";
import type { Indexed } from "./dataset.js";
import { SplitMix64 } from "./random.js";

export interface SamplerOptions {
  /** Of the data set. */
  readonly size: number;
  /** Any 64-bit integer. @default 0 */
  readonly seed?: bigint | number;
}

/**
 * The order in which examples are visited: every index once per epoch, without end. The order is a pure function of
 * (size, seed, epoch). Takes 4 bytes per example.
 */
export class Sampler {
  readonly size: number;
  private readonly seed: bigint;
  private epoch = 0;
  private position = 0;
  private order: Uint32Array | undefined;

  /**
   * Throws `ZO2_ERR_DATA` for an empty data set, `ZO2_ERR_INVALID_ARGUMENT` for a seed that is no integer of 64 bits.
   */
  constructor({ size, seed = 0 }: SamplerOptions) {
    if (size === 0) throw new Zo2Error("ZO2_ERR_DATA", "the data set is empty");
    if (!Number.isInteger(size) || size < 0 || size >= 2 ** 32)
      throw new Zo2Error("ZO2_ERR_INVALID_ARGUMENT", `size is ${size}; it must be an integer from 1 to 2^32 - 1`);
    this.size = size;
    this.seed = toSeed(seed);
  }

  /** The index of the next example; begins another epoch when this one is through. */
  next(): number {
    if (this.position === this.size) {
      this.epoch++;
      this.position = 0;
      this.order = undefined;
    }
    this.order ??= this.permutation();
    return at(this.order, this.position++);
  }

  /**
   * Fisher and Yates. The epoch goes through the generator once, so that the streams of two epochs or seeds never
   * overlap by a shift.
   */
  private permutation(): Uint32Array {
    const order = Uint32Array.from({ length: this.size }, (_, i) => i);
    const [high, low] = new SplitMix64(this.seed).next();
    const mixed = new SplitMix64(((BigInt(high) << 32n) | BigInt(low)) ^ BigInt(this.epoch)).next();
    const random = new SplitMix64((BigInt(mixed[0]) << 32n) | BigInt(mixed[1]));
    for (let i = this.size - 1; i > 0; i--) {
      const j = random.below(i + 1);
      const held = at(order, i);
      order[i] = at(order, j);
      order[j] = held;
    }
    return order;
  }
}

function toSeed(seed: bigint | number): bigint {
  if (typeof seed === "number" && !Number.isSafeInteger(seed))
    throw new Zo2Error(
      "ZO2_ERR_INVALID_ARGUMENT",
      `seed ${seed} is not a safe integer; larger ones are written as a bigint`,
    );
  const value = BigInt(seed);
  if (value < -(2n ** 63n) || value >= 2n ** 64n)
    throw new Zo2Error("ZO2_ERR_INVALID_ARGUMENT", `seed ${value} has more than 64 bits`);
  return BigInt.asUintN(64, value);
}

function checkBatchSize(batchSize: number): void {
  if (!Number.isSafeInteger(batchSize) || batchSize < 1)
    throw new Zo2Error("ZO2_ERR_CONFIG", `batchSize is ${batchSize}; it must be a positive integer`);
}

/** The whole data set once, in its own order; the last batch may be smaller. */
export async function* inOrder<T>(items: Indexed<T>, batchSize: number): AsyncGenerator<T[], void, undefined> {
  for (const indices of indicesInOrder(items.size, batchSize)) yield await Promise.all(indices.map((i) => items.at(i)));
}

/** The indices of its batches. */
export function* indicesInOrder(size: number, batchSize: number): Generator<number[], void, undefined> {
  checkBatchSize(batchSize);
  for (let begin = 0; begin < size; begin += batchSize)
    yield Array.from({ length: Math.min(batchSize, size - begin) }, (_, i) => begin + i);
}
