export interface LearningRateSchedule {
  readonly name: "constant" | "linear" | "cosine";
  readonly warmupSteps: number;
}

/**
 * The learning rate of step `step` (from 0) of `steps`, as transformers' `get_scheduler` has it: a linear warm-up from
 * 0, then constant, a line to 0 after the last step, or half a cosine.
 */
export function learningRateAt(base: number, schedule: LearningRateSchedule, step: number, steps: number): number {
  const { warmupSteps } = schedule;
  if (step < warmupSteps) return (base * step) / warmupSteps;
  const span = Math.max(1, steps - warmupSteps);
  const progress = (step - warmupSteps) / span;
  switch (schedule.name) {
    case "constant":
      return base;
    case "linear":
      return base * Math.max(0, (span - (step - warmupSteps)) / span);
    case "cosine":
      return base * 0.5 * (1 + Math.cos(Math.PI * Math.min(1, progress)));
  }
}
