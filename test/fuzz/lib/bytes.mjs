/** Mutations that know nothing of a format. */

const INTERESTING = [
  0n,
  1n,
  2n,
  7n,
  8n,
  16n,
  64n,
  100n,
  127n,
  128n,
  255n,
  256n,
  1000n,
  4096n,
  32767n,
  32768n,
  65535n,
  65536n,
  100_000_000n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 62n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 1n,
];

export function interestingInteger(random) {
  return random.pick(INTERESTING) + BigInt(random.chance(0.3) ? random.below(33) - 16 : 0);
}

/** Inserts `part` at `at` in place of `removed` bytes. */
export function splice(bytes, at, removed, part) {
  return Buffer.concat([bytes.subarray(0, at), part, bytes.subarray(at + removed)]);
}

function writeInteger(bytes, random) {
  const copy = Buffer.from(bytes);
  const width = Math.min(random.pick([1, 2, 4, 8]), copy.length);
  const at = random.below(copy.length - width + 1);
  let value = BigInt.asUintN(64, interestingInteger(random));
  if (random.chance(0.3)) {
    value = 0n;
    for (let i = width - 1; i >= 0; i--) value = (value << 8n) | BigInt(copy[at + i]);
    value += BigInt(random.below(33) - 16);
  }
  const big = random.chance(0.3);
  for (let i = 0; i < width; i++) copy[at + (big ? width - 1 - i : i)] = Number((value >> BigInt(8 * i)) & 255n);
  return copy;
}

const OPERATIONS = [
  (bytes, random) => {
    const copy = Buffer.from(bytes);
    copy[random.below(copy.length)] ^= 1 << random.below(8);
    return copy;
  },
  (bytes, random) => {
    const copy = Buffer.from(bytes);
    copy[random.below(copy.length)] = random.below(256);
    return copy;
  },
  writeInteger,
  writeInteger,
  (bytes, random) => {
    const at = random.below(bytes.length);
    return splice(bytes, at, random.length(bytes.length - at), Buffer.alloc(0));
  },
  (bytes, random) =>
    splice(
      bytes,
      random.below(bytes.length + 1),
      0,
      Buffer.from(Array.from({ length: random.length(32) }, () => random.below(256))),
    ),
  (bytes, random) => {
    const from = random.below(bytes.length);
    const part = bytes.subarray(from, from + random.length(bytes.length - from));
    return splice(bytes, random.below(bytes.length + 1), 0, part);
  },
  (bytes, random) => bytes.subarray(0, random.below(bytes.length)),
  (bytes, random, { dictionary }) => {
    const word = Buffer.from(random.pick(dictionary));
    const at = random.below(bytes.length + 1);
    return splice(bytes, at, random.chance(0.5) ? Math.min(word.length, bytes.length - at) : 0, word);
  },
  (bytes, random, { other }) => {
    const from = random.below(other.length);
    const part = other.subarray(from, from + random.length(other.length - from));
    const at = random.below(bytes.length + 1);
    return splice(bytes, at, random.chance(0.5) ? Math.min(part.length, bytes.length - at) : 0, part);
  },
];

/**
 * One to eight small changes of `bytes`. `dictionary`: words of the format; `other`: another input to take pieces from.
 * @param {Buffer} bytes
 * @param {{dictionary: readonly (string | Uint8Array)[], other: Buffer, maxBytes: number}} context
 * @returns {Buffer}
 */
export function mutateBytes(bytes, random, context) {
  let mutated = bytes;
  for (let left = 1 << random.below(4); left > 0; left--) {
    const operation = mutated.length === 0 ? OPERATIONS[5] : random.pick(OPERATIONS);
    mutated = operation(mutated, random, {
      dictionary: context.dictionary.length > 0 ? context.dictionary : ["0"],
      other: context.other,
    });
  }
  return mutated.subarray(0, context.maxBytes);
}
