import { isZo2Error } from "../base/errors.js";

/** What `plan` gives, or null where it does not fit in the memory that is allowed. */
export function withinBudget<T>(plan: () => T): T | null {
  try {
    return plan();
  } catch (error) {
    if (isZo2Error(error) && error.code === "ZO2_ERR_MEMORY_BUDGET") return null;
    throw error;
  }
}
