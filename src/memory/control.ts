import { COEFFICIENT_BYTES, LOSS_BYTES, SEAL_NOTE_BYTES, STICKY_BYTES } from "../contract/constants.js";
import { align } from "../base/dtype.js";
import type { Region } from "./arena.js";

/** Probes and directions of a step at most: what `contract/zo2.h` allows, to both sides. */
const MOST = { directions: 64, probes: 128 };

/** At most this many steps are on the device at once. */
export const STEPS_IN_FLIGHT = 2;

/**
 * Notes of seals that may be read at once. When a pass begins, the one `STEPS_IN_FLIGHT` before it has ended; that one
 * has brought every unit, or waited for what was written, and so come after all writes of the pass before it.
 */
export const NOTES = STEPS_IN_FLIGHT + 1;

/**
 * How many step states there are where up to `pending` updates wait to be stored: one for each of them, for the steps
 * in flight, and for one that the host may be writing. A multiple of `pending`, so that steps come round to the same
 * states when they come round to storing, and their commands are those of before.
 */
export function stepStates(pending: number): number {
  return pending * Math.ceil((pending + STEPS_IN_FLIGHT + 1) / pending);
}

/**
 * What a step leaves on the device for the visits that apply its update. Bytes from the start of the control buffer.
 */
export interface StepState {
  /** fp64, one for each probe. */
  readonly losses: Region;
  /** `zo2_coefficient`, one for each direction. */
  readonly coefficients: Region;
}

/**
 * The control buffer on the device, which outlives a plan: the states of the last steps, and the sticky flags. In its
 * twin in host memory, also the notes of seals.
 */
export interface ControlLayout {
  readonly states: readonly StepState[];
  readonly sticky: Region;
  readonly notes: readonly Region[];
  readonly bytes: number;
}

const ALIGNMENT = 32;

/** @param count of step states; each has room for the step of any method. */
export function controlLayout(count: number): ControlLayout {
  const losses = MOST.probes * LOSS_BYTES;
  const coefficients = MOST.directions * COEFFICIENT_BYTES;
  const stride = align(losses + coefficients, ALIGNMENT);
  const states = Array.from({ length: count }, (_, s) => ({
    losses: { offset: s * stride, bytes: losses },
    coefficients: { offset: s * stride + losses, bytes: coefficients },
  }));
  const sticky = { offset: count * stride, bytes: STICKY_BYTES };
  const first = sticky.offset + align(STICKY_BYTES);
  const notes = Array.from({ length: NOTES }, (_, n) => ({
    offset: first + n * SEAL_NOTE_BYTES,
    bytes: SEAL_NOTE_BYTES,
  }));
  return { states, sticky, notes, bytes: first + align(NOTES * SEAL_NOTE_BYTES) };
}
