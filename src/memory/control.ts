import { COEFFICIENT_BYTES, LOSS_BYTES, STICKY_BYTES } from "../contract/constants.js";
import { align } from "../base/dtype.js";
import type { Region } from "./arena.js";

/** At most this many steps are on the device at once. */
export const STEPS_IN_FLIGHT = 2;
/** Step states outlive their step by one visit of every unit; a power of two above STEPS_IN_FLIGHT + 1. */
export const STEP_STATES = 4;

/**
 * What a step leaves on the device for the visits that apply its update. Bytes from the start of the control buffer.
 */
export interface StepState {
  /** fp64, one for each probe. */
  readonly losses: Region;
  /** `zo2_coefficient`, one for each direction. */
  readonly coefficients: Region;
}

/** The control buffer on the device, which outlives a plan: the states of the last steps, and the sticky flags. */
export interface ControlLayout {
  /** The state of step s is the one of index s % STEP_STATES. */
  readonly states: readonly StepState[];
  readonly sticky: Region;
  readonly bytes: number;
}

const ALIGNMENT = 32;

/** @param probes, directions of a step at most. */
export function controlLayout(probes: number, directions: number): ControlLayout {
  const losses = probes * LOSS_BYTES;
  const coefficients = directions * COEFFICIENT_BYTES;
  const stride = align(losses + coefficients, ALIGNMENT);
  const states = Array.from({ length: STEP_STATES }, (_, s) => ({
    losses: { offset: s * stride, bytes: losses },
    coefficients: { offset: s * stride + losses, bytes: coefficients },
  }));
  const sticky = { offset: STEP_STATES * stride, bytes: STICKY_BYTES };
  return { states, sticky, bytes: sticky.offset + align(STICKY_BYTES) };
}
