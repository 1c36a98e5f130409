import { z } from "zod";
import { nearestName } from "../base/nearest.js";
import { knownPaths } from "./describe.js";
import { trainerOptionsSchema } from "./trainer.js";

/** Values of options by name; where a list is allowed, each of its values is one of several. */
export type SweptValues = Readonly<Record<string, unknown>>;

/** What `sweep(model, options)` takes. */
export const sweepOptionsSchema = z.strictObject({
  /** Folder of the sweep: a folder of its own in it keeps each trial, as option `run` of a `Trainer` does. Required. */
  dir: z.string().min(1),
  /** What every trial trains on, as `Trainer.fit` takes it. Required. */
  data: z.unknown().refine((data) => data !== undefined && data !== null, { error: "must be a path or examples" }),
  /** What the trials have in common; with `evaluation`, by which they are compared. Required. */
  trainer: z.record(z.string(), z.unknown()),
  /**
   * Options of which a list is tried, each value with each of the others': by name, a method's own without their
   * `method.`. A method is its name, or an object with options of its own, which may be lists too. @default {}
   */
  grid: z.record(z.string(), z.unknown()).default({}),
  /** Trials besides those of the grid: one value of each option. @default [] */
  trials: z.array(z.record(z.string(), z.unknown())).readonly().default([]),
});

/** The same for all trials: what they are compared by, where they are kept, and what no file can hold. */
const IN_COMMON = ["run", "evaluation", "objective", "test"];

const PATHS = knownPaths(trainerOptionsSchema);
const leafOf = (path: string) => path.slice(path.lastIndexOf(".") + 1);
const isInCommon = (path: string) => IN_COMMON.some((name) => path === name || path.startsWith(`${name}.`));

/**
 * The dotted path of the option that `name` means: its path itself, or the last part of it where no other's is the
 * same. Else what is wrong with it.
 */
export function sweptPath(name: string): { readonly path: string } | { readonly problem: string } {
  if (isInCommon(name)) return { problem: "is the same for all trials; give it with what they have in common" };
  if (name === "method.name") return { path: "method" };
  const found = PATHS.includes(name) ? [name] : PATHS.filter((path) => leafOf(path) === name && !isInCommon(path));
  const [path, ...others] = found;
  if (path !== undefined && others.length === 0) return { path };
  if (path !== undefined) return { problem: `may mean ${found.map((one) => `"${one}"`).join(" or ")}; give all of it` };
  const meant = nearestName(
    name,
    [...PATHS, ...PATHS.map(leafOf)].filter((known) => !isInCommon(known)),
  );
  return { problem: `is no option of a trainer${meant === undefined ? "" : `; did you mean "${meant}"?`}` };
}
