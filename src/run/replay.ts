import { Zo2Error } from "../base/errors.js";
import type { ReplayedUpdate } from "../device/session.js";
import type { Journal } from "../journal/read.js";
import type { Loaded } from "../loaded.js";
import { baseOf } from "./describe.js";
import { checkBase } from "./fits.js";
import { asItIs } from "./weights-now.js";

export interface ReplayRunOptions {
  /** Steps to apply. @default all */
  readonly steps?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: ReplayProgress) => void) | undefined;
}

export interface ReplayProgress {
  /** Path of the journal. */
  readonly journal: string;
  readonly applied: number;
  readonly steps: number;
}

/**
 * Rebuilds the weights of a run from those that are loaded: to the bytes that the training left, whatever device it ran
 * on. Streams every unit, once for some hundred steps.
 * @throws Zo2Error ZO2_ERR_JOURNAL where the run began with other weights, or has fewer steps than are asked for
 */
export async function replayRun(loaded: Loaded, journal: Journal, o: ReplayRunOptions = {}): Promise<void> {
  const { header, path } = journal;
  const { session, parameters } = loaded;
  const steps = o.steps ?? journal.steps.length;
  if (steps > journal.steps.length)
    throw new Zo2Error(
      "ZO2_ERR_JOURNAL",
      `${path}: holds ${journal.steps.length} steps, and ${steps} are asked for; ask for at most as many as there are`,
    );
  const now = await baseOf(await asItIs(loaded, o.signal));
  checkBase(header, now, path);
  const frozen = new Set(header.method.frozen);
  await session.freeze(new Set(parameters.filter(({ name }) => frozen.has(name))));
  const onProgress = (applied: number) => o.onProgress?.({ journal: path, applied, steps });
  try {
    await session.replay(updatesOf(journal).slice(0, steps), { signal: o.signal, onProgress });
  } finally {
    await session.freeze(new Set());
  }
}

/** Every step's update, in order. */
export function updatesOf({ header, steps }: Pick<Journal, "header" | "steps">): readonly ReplayedUpdate[] {
  const { noise, weightDecay } = header.method;
  const seed = BigInt(header.method.seed);
  return steps.map(({ step, coefficients, learningRate }) => ({
    ...{ step, seed, noise, coefficients, learningRate, weightDecay },
  }));
}
