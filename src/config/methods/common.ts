/** What the options of methods have in common. */
import { z } from "zod";

/** Directions that a step may have: `contract/zo2.h`. */
export const MOST_DIRECTIONS = 64;

export const directionsSchema = z.int().min(1).max(MOST_DIRECTIONS);

export const noiseSchema = z.enum(["gaussian", "rademacher"]);

const scheduleSchema = z.strictObject({
  /**
   * How the learning rate goes on after the warm-up: stays, or falls to 0 at the last step along a line or half a
   * cosine. @default "constant"
   */
  name: z.enum(["constant", "linear", "cosine"]).default("constant"),
  /** Steps over which the learning rate first rises from 0. @default 0 */
  warmupSteps: z.int().min(0).default(0),
});

/** Of every method; the learning rate is in each paper's own convention (docs/methods.md). */
export const updateOptions = {
  /**
   * Learning rate before the schedule, far below those of Adam, or `"auto"`: what the losses beside the weights speak
   * for, chosen once before the first step (docs/methods.md). Required.
   */
  learningRate: z.number().positive().or(z.literal("auto")),
  /** Decoupled weight decay; biases and norm gains are left out. @default 0 */
  weightDecay: z.number().min(0).default(0),
  /** Learning-rate schedule. @default constant, without a warm-up */
  schedule: scheduleSchema.prefault({}),
};

/** How far the evaluations stand from the weights along a direction. @default 1e-3 */
export const epsSchema = z.number().positive().default(1e-3);
