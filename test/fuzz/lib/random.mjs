/** Random numbers that depend on nothing but the seed: sfc32 over 32-bit words. */
export class Random {
  #a;
  #b;
  #c;
  #d = 1;

  /** Another `stream` of the same seed is independent of it. */
  constructor(seed, stream = 0) {
    this.#a = seed | 0;
    this.#b = Math.floor(seed / 2 ** 32) | 0;
    this.#c = stream | 0;
    for (let i = 0; i < 15; i++) this.word();
  }

  word() {
    const sum = (((this.#a + this.#b) | 0) + this.#d) | 0;
    this.#d = (this.#d + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** An integer from 0 to below `end`; 0 for an empty range. */
  below(end) {
    return end < 2 ? 0 : Math.floor((this.word() / 2 ** 32) * end);
  }

  chance(probability) {
    return this.word() < probability * 2 ** 32;
  }

  pick(list) {
    return list[this.below(list.length)];
  }

  /** A length from 1 to `most`: short ones more often. */
  length(most) {
    return 1 + this.below(Math.min(most, 2 ** (1 + this.below(10))));
  }
}
