import type { Journal } from "./read.js";
import type { StepRecord } from "./record.js";

/**
 * The steps whose updates count after the first `taken` ones, in order: a guard that spoke later has dropped nothing
 * yet.
 */
export function countedSteps(
  { steps, dropped }: Pick<Journal, "steps" | "dropped">,
  taken: number = steps.length,
): readonly StepRecord[] {
  const left = new Set<number>();
  for (const { step, count } of dropped) if (step < taken) for (let i = step - count + 1; i <= step; i++) left.add(i);
  return steps.slice(0, taken).filter(({ step }) => !left.has(step));
}
