const MASK = (1n << 64n) - 1n;
const GOLDEN = 0x9e3779b97f4a7c15n;

/** The 64-bit finalizer of SplitMix64 over x + golden ratio: the first output of that generator seeded with x. */
export function splitmix64(x) {
  let z = (x + GOLDEN) & MASK;
  z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
  z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & MASK;
  return z ^ (z >> 31n);
}

/**
 * Token ids of one step, `batch` rows of `seq`: token i is splitmix64(seed 2^40 + step 2^24 + i) mod vocab, as in the
 * peer.
 */
export function idsFor({ seed, step, batch, seq, vocab }) {
  const base = (BigInt(seed) << 40n) + (BigInt(step) << 24n);
  return Array.from({ length: batch }, (_, row) =>
    Int32Array.from({ length: seq }, (_, t) => Number(splitmix64(base + BigInt(row * seq + t)) % BigInt(vocab))),
  );
}
