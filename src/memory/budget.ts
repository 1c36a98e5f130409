import { isZo2Error } from "../base/errors.js";

/** What `plan` gives, or null where it does not fit in the memory that is allowed. */
export function withinBudget<T>(plan: () => T): T | null {
  try {
    return plan();
  } catch (error) {
    if (isOverBudget(error)) return null;
    throw error;
  }
}

/** Whether something does not fit in the memory that is allowed. */
export function isOverBudget(error: unknown): boolean {
  return isZo2Error(error) && error.code === "ZO2_ERR_MEMORY_BUDGET";
}
