/** The system's code of an error ("ENOENT"), if it carries one. */
export function errnoOf(error: unknown): string | undefined {
  return isRecord(error) && typeof error["code"] === "string" ? error["code"] : undefined;
}

/** Duck-typed, as `errnoOf` is: an error of another realm (a worker, a test's sandbox) is no `instanceof Error`. */
export function messageOf(error: unknown): string {
  return isRecord(error) && typeof error["message"] === "string" ? error["message"] : String(error);
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
