import type { z } from "zod";
import { Zo2Error } from "../base/errors.js";
import { describeIssue } from "./describe.js";

/**
 * `T` with every member read-only, all the way down, and nothing there but undefined: an option that was not given is
 * absent.
 */
export type Frozen<T> = T extends (...args: never[]) => unknown
  ? T
  : T extends readonly (infer E)[]
    ? readonly Frozen<E>[]
    : T extends object
      ? { readonly [K in keyof T]: Frozen<Exclude<T[K], undefined>> }
      : T;

/**
 * Checks options once, at the edge: unknown names, types and ranges. Defaults come from the schema.
 *
 * @param what names the options in a message: `"trainer options"`.
 * @returns the options with their defaults, frozen all the way down. Objects that pass through as they are (a data set)
 *   stay the caller's and are not frozen.
 * @throws Zo2Error `ZO2_ERR_CONFIG` that lists every problem with its path.
 */
export function parseOptions<S extends z.ZodType>(schema: S, input: unknown, what: string): Frozen<z.output<S>> {
  const result = schema.safeParse(input, { reportInput: true });
  if (result.success) return freezeNew(result.data, input) as Frozen<z.output<S>>;
  const problems = result.error.issues.flatMap((issue) => describeIssue(issue, schema));
  const text =
    problems.length === 1
      ? problems[0]
      : `${problems.length} problems: ${problems.map((p, i) => `(${i + 1}) ${p}`).join(" ")}`;
  throw new Zo2Error("ZO2_ERR_CONFIG", `${what}: ${text}`);
}

/** Freezes what the schema made. What it passed through by reference is the same object in `input`. */
function freezeNew(output: unknown, input: unknown): unknown {
  if (typeof output !== "object" || output === null || output === input) return output;
  const prototype: unknown = Object.getPrototypeOf(output);
  if (!Array.isArray(output) && prototype !== Object.prototype && prototype !== null) return output;
  for (const [key, value] of Object.entries(output)) {
    // `{ threads: undefined }` reads as `{}`.
    if (value === undefined) Reflect.deleteProperty(output, key);
    freezeNew(value, typeof input === "object" && input !== null ? Reflect.get(input, key) : undefined);
  }
  return Object.freeze(output);
}
