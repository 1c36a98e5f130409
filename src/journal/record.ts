/** What one step leaves behind: all that its update is a function of, besides the run's header. */
import { at } from "../base/at.js";

/** Losses of one share of a step's batch. */
export interface Shard {
  /** Labelled tokens or examples: the weight of these losses in the step's. */
  readonly labelled: number;
  /** fp64, one for each probe. */
  readonly losses: readonly number[];
}

export interface StepRecord {
  /** From 0; counter of the noise. */
  readonly step: number;
  /** In the order in which the losses were added up: one where a single process trains. */
  readonly shards: readonly Shard[];
  /** fp32, one for each direction. */
  readonly coefficients: readonly number[];
  readonly learningRate: number;
}

/** What an evaluation during training came to. */
export interface EvaluationRecord {
  /** Steps taken before it. */
  readonly step: number;
  readonly examples: number;
  readonly loss: number;
  /** Null where there are no choices. */
  readonly accuracy: number | null;
  readonly best: boolean;
}

/** What may be wrong with a step; the number is in the file. */
export const GUARDS = { "not-finite": 1, collapsed: 2, outlier: 3 } as const;
export type Guard = keyof typeof GUARDS;

/** Steps that were taken and whose updates do not count. */
export interface DroppedRecord {
  /** At which a guard spoke: the last of those that are dropped. */
  readonly step: number;
  /** How many: this one and those right before it. */
  readonly count: number;
  readonly guard: Guard;
}

/** How many losses and coefficients a record has. */
export interface RecordShape {
  readonly probes: number;
  readonly directions: number;
}

export const MAX_SHARDS = 255;
const STEP_HEAD_BYTES = 4 + 1 + 1 + 8;
const DROPPED_HEAD_BYTES = 1 + 4;
const EVALUATION_BYTES = 4 + 4 + 8 + 8 + 1;

/** step u32, shards u8, 0 u8, rate f64; of each shard: labelled u32, losses f64; coefficients f32. */
export function encodeStep(record: StepRecord): Buffer {
  const { step, shards, coefficients, learningRate } = record;
  const losses = shards.reduce((sum, shard) => sum + shard.losses.length, 0);
  const bytes = Buffer.alloc(STEP_HEAD_BYTES + shards.length * 4 + losses * 8 + coefficients.length * 4);
  bytes.writeUInt32LE(step, 0);
  bytes.writeUInt8(shards.length, 4);
  bytes.writeDoubleLE(learningRate, 6);
  let offset = STEP_HEAD_BYTES;
  for (const shard of shards) {
    offset = bytes.writeUInt32LE(shard.labelled, offset);
    for (const loss of shard.losses) offset = bytes.writeDoubleLE(loss, offset);
  }
  for (const coefficient of coefficients) offset = bytes.writeFloatLE(coefficient, offset);
  return bytes;
}

/** Null where the bytes are no step of this shape. @param fewest shards that it has to have. */
export function decodeStep(payload: Uint8Array, { probes, directions }: RecordShape, fewest = 1): StepRecord | null {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  if (bytes.byteLength < STEP_HEAD_BYTES) return null;
  const count = bytes.readUInt8(4);
  const shardBytes = 4 + probes * 8;
  if (count < fewest || bytes.readUInt8(5) !== 0) return null;
  if (bytes.byteLength !== STEP_HEAD_BYTES + count * shardBytes + directions * 4) return null;
  const shards = Array.from({ length: count }, (_, s) => {
    const begin = STEP_HEAD_BYTES + s * shardBytes;
    const losses = Array.from({ length: probes }, (_probe, p) => bytes.readDoubleLE(begin + 4 + p * 8));
    return { labelled: bytes.readUInt32LE(begin), losses };
  });
  const begin = STEP_HEAD_BYTES + count * shardBytes;
  const coefficients = Array.from({ length: directions }, (_, d) => bytes.readFloatLE(begin + d * 4));
  return { step: bytes.readUInt32LE(0), shards, coefficients, learningRate: bytes.readDoubleLE(6) };
}

/**
 * guard u8, steps that are dropped u32, then the step at which it spoke (in the compact form without shards), or
 * nothing where that stands in the record before.
 */
export function encodeDropped({ count, guard }: Omit<DroppedRecord, "step">, step: StepRecord | null): Buffer {
  const head = Buffer.alloc(DROPPED_HEAD_BYTES);
  head.writeUInt8(GUARDS[guard], 0);
  head.writeUInt32LE(count, 1);
  return step === null ? head : Buffer.concat([head, encodeStep(step)]);
}

/** Null where the bytes are no such record. @param taken steps that stand before it. */
export function decodeDropped(
  payload: Uint8Array,
  shape: RecordShape,
  taken: number,
): { readonly dropped: DroppedRecord; readonly step: StepRecord | null } | null {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  if (bytes.byteLength < DROPPED_HEAD_BYTES) return null;
  const number = bytes.readUInt8(0);
  const guard = (Object.keys(GUARDS) as Guard[]).find((name) => GUARDS[name] === number);
  const count = bytes.readUInt32LE(1);
  const own = bytes.byteLength > DROPPED_HEAD_BYTES;
  const step = own ? decodeStep(bytes.subarray(DROPPED_HEAD_BYTES), shape, 0) : null;
  if (guard === undefined || (own && step === null)) return null;
  const last = step?.step ?? taken - 1;
  return count === 0 || count > last + 1 ? null : { dropped: { step: last, count, guard }, step };
}

/** step u32, examples u32, loss f64, accuracy f64 (NaN: none), best u8. */
export function encodeEvaluation({ step, examples, loss, accuracy, best }: EvaluationRecord): Buffer {
  const bytes = Buffer.alloc(EVALUATION_BYTES);
  bytes.writeUInt32LE(step, 0);
  bytes.writeUInt32LE(examples, 4);
  bytes.writeDoubleLE(loss, 8);
  bytes.writeDoubleLE(accuracy ?? Number.NaN, 16);
  bytes.writeUInt8(best ? 1 : 0, 24);
  return bytes;
}

/** Null where the bytes are no evaluation. */
export function decodeEvaluation(payload: Uint8Array): EvaluationRecord | null {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  if (bytes.byteLength !== EVALUATION_BYTES || bytes.readUInt8(24) > 1) return null;
  const accuracy = bytes.readDoubleLE(16);
  return {
    ...{ step: bytes.readUInt32LE(0), examples: bytes.readUInt32LE(4), loss: bytes.readDoubleLE(8) },
    accuracy: Number.isNaN(accuracy) ? null : accuracy,
    best: bytes.readUInt8(24) === 1,
  };
}

/** The loss of a step: that at the weights where a probe stands there, else the mean of all probes'. */
export function lossOf(record: StepRecord, inPlace: readonly number[] | undefined): number {
  const losses = lossesOf(record);
  const own = inPlace === undefined ? losses : inPlace.map((p) => at(losses, p));
  return own.reduce((sum, loss) => sum + loss, 0) / own.length;
}

/** The losses of the whole batch, by probe: those of the shards by weight, added up in their order, in fp64. */
export function lossesOf({ shards }: StepRecord): number[] {
  const [only] = shards;
  if (only !== undefined && shards.length === 1) return [...only.losses];
  const total = shards.reduce((sum, { labelled }) => sum + labelled, 0);
  return (only?.losses ?? []).map(
    (_, p) => shards.reduce((sum, { labelled, losses }) => sum + at(losses, p) * labelled, 0) / total,
  );
}
