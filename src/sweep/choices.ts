/** From lists of values to trials: every combination of a grid, and those that are listed. */
import { Zo2Error } from "../base/errors.js";
import { isRecord } from "../base/guards.js";
import { type SweptValues, sweptPath } from "../config/sweep.js";

/** The value that a trial has of one option. */
export interface Choice {
  /** As it was given. */
  readonly name: string;
  /** Of the option of a trainer that it is. */
  readonly path: string;
  readonly value: unknown;
  /** Where it stands: `grid.learningRate[1]`. */
  readonly place: string;
}

/** How the parts of a sweep are called where it was written. */
export interface SweepPlaces {
  readonly grid: string;
  readonly trials: string;
}

export const LIBRARY_PLACES: SweepPlaces = { grid: "grid", trials: "trials" };

/** More trials than anybody means. */
const MOST_TRIALS = 10_000;

/**
 * The choices of each trial: those of the grid with its last option changing fastest, then the listed ones.
 * @throws Zo2Error ZO2_ERR_CONFIG that lists every name and list that is wrong
 */
export function choicesOf(grid: SweptValues, trials: readonly SweptValues[], places: SweepPlaces): readonly Choice[][] {
  const problems: string[] = [];
  const named = (name: string, place: string): string => {
    const found = sweptPath(name);
    if ("path" in found) return found.path;
    problems.push(`option "${place}" ${found.problem}`);
    return "";
  };
  const axes = Object.entries(grid).map(([name, values]) => {
    const place = `${places.grid}.${name}`;
    const path = named(name, place);
    const axis = (Array.isArray(values) ? values : [values]).flatMap((value: unknown, i) => {
      const at = Array.isArray(values) ? `${place}[${i}]` : place;
      return path === "method"
        ? methodsOf(value, at).map((method) => ({ name, path, ...method }))
        : [{ name, path, value, place: at }];
    });
    if (axis.length === 0) problems.push(`option "${place}" holds no value; give those to try`);
    return axis;
  });
  const listed = trials.map((trial, i) =>
    Object.entries(trial).map(([name, value]): Choice => {
      const place = `${places.trials}[${i}].${name}`;
      return { name, path: named(name, place), value, place };
    }),
  );
  const count = axes.reduce((product, { length }) => product * length, axes.length === 0 ? 0 : 1);
  if (count > MOST_TRIALS)
    problems.push(`option "${places.grid}" makes ${count} trials; make it ${MOST_TRIALS} at most`);
  if (problems.length === 0 && count + listed.length === 0)
    problems.push(`option "${places.grid}" is empty; give options to try, such as learningRate: [1e-7, 1e-6]`);
  if (problems.length > 0) throw problemsError(problems);
  return [...(axes.length === 0 ? [] : productOf(axes)), ...listed];
}

/** All of them in one error. */
export function problemsError(problems: readonly string[]): Zo2Error {
  const [only = ""] = problems;
  const text =
    problems.length === 1
      ? only
      : `${problems.length} problems: ${problems.map((p, i) => `(${i + 1}) ${p}`).join(" ")}`;
  return new Zo2Error("ZO2_ERR_CONFIG", `sweep options: ${text}`);
}

/** One method for each combination of the lists among its options. */
function methodsOf(value: unknown, place: string): { readonly value: unknown; readonly place: string }[] {
  if (!isRecord(value)) return [{ value, place }];
  const axes = Object.entries(value).map(([name, inner]) =>
    (Array.isArray(inner) ? inner : [inner]).map((one: unknown) => [name, one] as const),
  );
  return productOf(axes).map((entries) => ({ value: Object.fromEntries(entries), place }));
}

/** One of each list, in every combination; the last list changes fastest. */
function productOf<T>(lists: readonly (readonly T[])[]): T[][] {
  return lists.reduce<T[][]>((begun, list) => begun.flatMap((one) => list.map((next) => [...one, next])), [[]]);
}
