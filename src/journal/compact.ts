/**
 * The compact form of a journal: what replay needs and nothing else. A block holds the coefficients of consecutive
 * steps, and their learning rates bit for bit.
 */
import type { RecordShape, StepRecord } from "./record.js";

/** Steps of one block at most. */
const BLOCK_STEPS = 4096;
const HEAD_BYTES = 8;

/**
 * first step u32, steps u32, coefficients f32 [steps x directions], then the rates: third differences of their bits as
 * 64-bit integers, modulo 2^64, zigzag, seven bits a byte. A rate that stays or follows a line or a curve takes one to
 * three bytes a step, and any other comes through as well.
 */
export function encodeCoefficients(steps: readonly StepRecord[]): Buffer {
  const [first] = steps;
  const coefficients = steps.flatMap((step) => step.coefficients);
  const head = Buffer.alloc(HEAD_BYTES + coefficients.length * 4);
  head.writeUInt32LE(first?.step ?? 0, 0);
  head.writeUInt32LE(steps.length, 4);
  coefficients.forEach((value, i) => head.writeFloatLE(value, HEAD_BYTES + i * 4));
  const differences = new Differences();
  const rates: number[] = [];
  for (const { learningRate } of steps) putVarint(rates, zigzag(differences.next(bitsOf(learningRate))));
  return Buffer.concat([head, Buffer.from(rates)]);
}

/** Null where the bytes are no such block. The steps have no losses. */
export function decodeCoefficients(
  payload: Uint8Array,
  { method: { directions } }: { readonly method: Pick<RecordShape, "directions"> },
): StepRecord[] | null {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  if (bytes.byteLength < HEAD_BYTES) return null;
  const first = bytes.readUInt32LE(0);
  const count = bytes.readUInt32LE(4);
  const rates = HEAD_BYTES + count * directions * 4;
  if (count > BLOCK_STEPS || rates > bytes.byteLength) return null;
  const sums = new Sums();
  const steps: StepRecord[] = [];
  let offset = rates;
  for (let s = 0; s < count; s++) {
    let value = 0n;
    let shift = 0n;
    let byte: number;
    do {
      if (offset >= bytes.byteLength || shift > 63n) return null;
      byte = bytes.readUInt8(offset++);
      value |= BigInt(byte & 0x7f) << shift;
      shift += 7n;
    } while (byte >= 0x80);
    const at = HEAD_BYTES + s * directions * 4;
    steps.push({
      step: first + s,
      shards: [],
      coefficients: Array.from({ length: directions }, (_, d) => bytes.readFloatLE(at + d * 4)),
      learningRate: rateOf(sums.next(unzigzag(BigInt.asUintN(64, value)))),
    });
  }
  return offset === bytes.byteLength ? steps : null;
}

/** The whole run in blocks. */
export function blocksOf(steps: readonly StepRecord[]): StepRecord[][] {
  const blocks: StepRecord[][] = [];
  for (let begin = 0; begin < steps.length; begin += BLOCK_STEPS) blocks.push(steps.slice(begin, begin + BLOCK_STEPS));
  return blocks;
}

const ORDER = 3;

/** From integers to their differences of third order. */
class Differences {
  private readonly last = new BigInt64Array(ORDER);

  next(value: bigint): bigint {
    let rest = value;
    for (let order = 0; order < ORDER; order++) {
      const before = this.last[order] ?? 0n;
      this.last[order] = rest;
      rest = BigInt.asIntN(64, rest - before);
    }
    return rest;
  }
}

/** The inverse. */
class Sums {
  private readonly last = new BigInt64Array(ORDER);

  next(difference: bigint): bigint {
    let sum = difference;
    for (let order = ORDER - 1; order >= 0; order--) {
      sum = BigInt.asIntN(64, sum + (this.last[order] ?? 0n));
      this.last[order] = sum;
    }
    return sum;
  }
}

const word = new DataView(new ArrayBuffer(8));

function bitsOf(rate: number): bigint {
  word.setFloat64(0, rate);
  return word.getBigInt64(0);
}

function rateOf(bits: bigint): number {
  word.setBigInt64(0, bits);
  return word.getFloat64(0);
}

function zigzag(value: bigint): bigint {
  return BigInt.asUintN(64, (value << 1n) ^ (value >> 63n));
}

function unzigzag(value: bigint): bigint {
  return BigInt.asIntN(64, (value >> 1n) ^ -(value & 1n));
}

function putVarint(into: number[], value: bigint): void {
  let rest = value;
  while (rest >= 0x80n) {
    into.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  into.push(Number(rest));
}
