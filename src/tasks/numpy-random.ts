import { at } from "../base/at.js";

const WORDS = 624;
const MIDDLE = 397;

/**
 * NumPy's legacy generator, `np.random.seed(seed)` and what follows it: MT19937 (Matsumoto and Nishimura 1998), with
 * bounded draws by masks and rejection. Its sequences are frozen, and MeZO's splits are made with them.
 */
export class NumpyRandom {
  private readonly state = new Uint32Array(WORDS);
  private position = WORDS;

  /** @param seed from 0 to 2^32 - 1 */
  constructor(seed: number) {
    this.state[0] = seed;
    for (let i = 1; i < WORDS; i++) {
      const before = at(this.state, i - 1);
      this.state[i] = Math.imul(1812433253, before ^ (before >>> 30)) + i;
    }
  }

  /** The numbers from 0 to below `count`, in the order of `np.random.permutation(count)`. */
  permutation(count: number): Uint32Array {
    const order = Uint32Array.from({ length: count }, (_, i) => i);
    for (let i = count - 1; i > 0; i--) {
      const j = this.upTo(i);
      const held = at(order, i);
      order[i] = at(order, j);
      order[j] = held;
    }
    return order;
  }

  /** `np.random.randint(0, below, count)`; `below` at most 2^32. */
  integers(below: number, count: number): number[] {
    return Array.from({ length: count }, () => this.upTo(below - 1));
  }

  private upTo(max: number): number {
    if (max === 0) return 0;
    const mask = 0xffffffff >>> Math.clz32(max);
    for (;;) {
      const value = (this.next() & mask) >>> 0;
      if (value <= max) return value;
    }
  }

  private next(): number {
    if (this.position === WORDS) this.twist();
    let y = at(this.state, this.position++);
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  private twist(): void {
    const { state } = this;
    for (let i = 0; i < WORDS; i++) {
      const y = (at(state, i) & 0x80000000) | (at(state, (i + 1) % WORDS) & 0x7fffffff);
      state[i] = at(state, (i + MIDDLE) % WORDS) ^ (y >>> 1) ^ ((y & 1) === 0 ? 0 : 0x9908b0df);
    }
    this.position = 0;
  }
}
