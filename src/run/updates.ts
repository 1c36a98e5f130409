/** What the records of a run come to: the updates that make its weights. */
import { hashOfJson, Hasher } from "../base/hash.js";
import type { ReplayedUpdate } from "../device/requests.js";
import { countedSteps } from "../journal/counted.js";
import type { Journal } from "../journal/read.js";

/** Of a journal, what weights are a function of. */
export type Updates = Pick<Journal, "header" | "steps" | "dropped">;

/** The updates that count after the first `taken` steps, in order. */
export function updatesOf(run: Updates, taken: number = run.steps.length): readonly ReplayedUpdate[] {
  const { noise, weightDecay, seed } = run.header.method;
  return countedSteps(run, taken).map(({ step, coefficients, learningRate }) => ({
    ...{ step, seed: BigInt(seed), noise, coefficients, learningRate, weightDecay },
  }));
}

/** What a fingerprint has of an update. */
export type FingerprintedUpdate = Pick<ReplayedUpdate, "step" | "coefficients" | "learningRate">;

/**
 * Tells weights by what has made them: the header of their run, and the updates that count. One that is added costs the
 * same however many there were before.
 */
export class UpdatesFingerprint {
  private constructor(private readonly hasher: Hasher) {}

  static async create(header: Journal["header"]): Promise<UpdatesFingerprint> {
    const hasher = await Hasher.create();
    hasher.update(Buffer.from(await hashOfJson(header)));
    return new UpdatesFingerprint(hasher);
  }

  add({ step, coefficients, learningRate }: FingerprintedUpdate): void {
    const bytes = Buffer.alloc(12 + coefficients.length * 4);
    bytes.writeUInt32LE(step, 0);
    bytes.writeDoubleLE(learningRate, 4);
    coefficients.forEach((value, i) => bytes.writeFloatLE(value, 12 + i * 4));
    this.hasher.update(bytes);
  }

  /** 32 hexadecimal digits. */
  now(): string {
    return this.hasher.digestSoFar();
  }
}

/** That of all these updates. */
export async function fingerprintOfUpdates(
  header: Journal["header"],
  updates: readonly FingerprintedUpdate[],
): Promise<string> {
  const fingerprint = await UpdatesFingerprint.create(header);
  for (const update of updates) fingerprint.add(update);
  return fingerprint.now();
}
