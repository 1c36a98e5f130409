/**
 * SplitMix64 (Steele, Lea and Flood 2014) on two 32-bit halves: a data set of millions of lines is shuffled between two
 * steps, and BigInt would take seconds for it.
 */
export class SplitMix64 {
  private high: number;
  private low: number;

  /** Any 64-bit seed, 0 included. */
  constructor(seed: bigint) {
    this.high = Number(BigInt.asUintN(64, seed) >> 32n);
    this.low = Number(BigInt.asUintN(32, seed));
  }

  /** The next 64-bit value, as [high, low] halves. */
  next(): readonly [number, number] {
    const sum = this.low + 0x7f4a7c15;
    this.low = sum >>> 0;
    this.high = (this.high + 0x9e3779b9 + (sum > 0xffffffff ? 1 : 0)) >>> 0;
    const [h1, l1] = multiply(...shiftXor(this.high, this.low, 30), 0xbf58476d, 0x1ce4e5b9);
    const [h2, l2] = multiply(...shiftXor(h1, l1, 27), 0x94d049bb, 0x133111eb);
    return shiftXor(h2, l2, 31);
  }

  /** An integer from 0 to below `bound` (at most 2^32), each with the same probability. */
  below(bound: number): number {
    // Values past the last whole multiple would favour the small ones.
    const limit = 2 ** 32 - (2 ** 32 % bound);
    for (;;) {
      const [high] = this.next();
      if (high < limit) return high % bound;
    }
  }
}

/** z ^ (z >> shift), for shifts below 32. */
function shiftXor(high: number, low: number, shift: number): [number, number] {
  const shifted = ((low >>> shift) | (high << (32 - shift))) >>> 0;
  return [(high ^ (high >>> shift)) >>> 0, (low ^ shifted) >>> 0];
}

/** The low 64 bits of a product. */
function multiply(ah: number, al: number, bh: number, bl: number): [number, number] {
  // al x bl in 16-bit pieces: every partial sum stays below 2^53.
  const a0 = al & 0xffff;
  const a1 = al >>> 16;
  const b0 = bl & 0xffff;
  const b1 = bl >>> 16;
  const bottom = a0 * b0;
  const middle = a1 * b0 + Math.floor(bottom / 0x10000);
  const cross = a0 * b1 + (middle % 0x10000);
  const low = ((cross % 0x10000) * 0x10000 + (bottom % 0x10000)) >>> 0;
  const carry = a1 * b1 + Math.floor(middle / 0x10000) + Math.floor(cross / 0x10000);
  return [(Math.imul(ah, bl) + Math.imul(al, bh) + carry) >>> 0, low];
}
