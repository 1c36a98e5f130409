/** The trials of a sweep: what is one's own, and the options that it has with what is common to all. */
import { isRecord } from "../base/guards.js";
import { describeIssue } from "../config/describe.js";
import type { SweptValues } from "../config/sweep.js";
import { type ResolvedTrainerOptions, type TrainerOptions, trainerOptionsSchema } from "../config/trainer.js";
import { type Choice, choicesOf, LIBRARY_PLACES, problemsError, type SweepPlaces } from "./choices.js";

/** What a sweep is made of, as its options have it. */
export interface SweepParts {
  readonly trainer: SweptValues;
  readonly grid: SweptValues;
  readonly trials: readonly SweptValues[];
}

/** One run of a sweep. */
export interface PlannedTrial {
  /** Its own values, by name; a method's options beside its name. */
  readonly values: SweptValues;
  /** As `Trainer` takes them. */
  readonly options: TrainerOptions;
  readonly resolved: ResolvedTrainerOptions;
}

/** What methods have alike, and keep where a trial has another method than the others. */
const OF_EVERY_METHOD = ["learningRate", "eps", "weightDecay", "schedule"];

/**
 * The trials, each with options that have been parsed; of equal ones the first.
 * @throws Zo2Error ZO2_ERR_CONFIG that lists every problem of any trial, once, with the place of the value
 */
export function planTrials(parts: SweepParts, places: SweepPlaces = LIBRARY_PLACES): readonly PlannedTrial[] {
  const problems = new Set<string>();
  const planned = choicesOf(parts.grid, parts.trials, places).map((choices): PlannedTrial | null => {
    const { options, inForce } = optionsOf(parts.trainer, choices);
    const result = trainerOptionsSchema.safeParse(options, { reportInput: true });
    if (result.success) {
      const resolved = result.data as ResolvedTrainerOptions;
      return { values: valuesOf(inForce), options: options as unknown as TrainerOptions, resolved };
    }
    for (const issue of result.error.issues)
      for (const text of describeIssue(issue, trainerOptionsSchema))
        problems.add(`${placeOf(issue.path, inForce)}${text}`);
    return null;
  });
  if (problems.size > 0) throw problemsError([...problems]);
  const seen = new Set<string>();
  return planned.filter((trial): trial is PlannedTrial => {
    if (trial === null) return false;
    const key = JSON.stringify(comparable(trial.resolved));
    return !seen.has(key) && seen.add(key) !== null;
  });
}

/** Options that change neither a trial's steps nor what it is compared by. */
const OF_NO_ACCOUNT = ["run", "durability", "checkData", "snapshots", "objective", "test"];

/** What two trials share where one stands for the other, as JSON has it. */
export function comparable({ evaluation, objective, ...options }: ResolvedTrainerOptions): Record<string, unknown> {
  const own = Object.entries(options).filter(([name]) => !OF_NO_ACCOUNT.includes(name));
  const { every = null, batchSize = null } = evaluation ?? {};
  return plain({ ...Object.fromEntries(own), evaluation: { every, batchSize }, objectiveFrom: objective?.from });
}

/** As JSON has it: whole numbers beyond 2^53 digit by digit. */
export function plain<T extends object>(value: T): Record<string, unknown> {
  const text = JSON.stringify(value, (_, inner: unknown) => (typeof inner === "bigint" ? String(inner) : inner));
  return JSON.parse(text) as Record<string, unknown>;
}

function optionsOf(
  common: SweptValues,
  choices: readonly Choice[],
): { readonly options: Record<string, unknown>; readonly inForce: readonly Choice[] } {
  const options = { ...common };
  const given = choices.findLast(({ path }) => path === "method");
  const own = methodOf(given?.value);
  if (own !== undefined) options["method"] = switched(common["method"], own);
  else if (given !== undefined) options["method"] = given.value;
  // What a method has of its own goes over what all are tried with.
  const inForce = choices.filter(
    ({ path }) => !(path.startsWith("method.") && own !== undefined && Object.hasOwn(own, path.split(".")[1] ?? "")),
  );
  for (const { path, value } of inForce) if (path !== "method") put(options, path.split("."), value);
  return { options, inForce };
}

/** The options of a method that is given by its name, or as an object; undefined for what is neither. */
function methodOf(value: unknown): SweptValues | undefined {
  if (typeof value === "string") return { name: value };
  return isRecord(value) ? value : undefined;
}

function switched(common: unknown, own: SweptValues): SweptValues {
  if (!isRecord(common)) return own;
  const { name } = own;
  if (name === undefined || name === common["name"]) return { ...common, ...own };
  return { ...Object.fromEntries(Object.entries(common).filter(([key]) => OF_EVERY_METHOD.includes(key))), ...own };
}

/** Sets the member at a path, in objects that are new. */
function put(object: Record<string, unknown>, [first = "", ...rest]: readonly string[], value: unknown): void {
  if (rest.length === 0) {
    object[first] = value;
    return;
  }
  const inner = object[first];
  const copy = isRecord(inner) ? { ...inner } : {};
  object[first] = copy;
  put(copy, rest, value);
}

function valuesOf(choices: readonly Choice[]): SweptValues {
  return Object.fromEntries(
    choices.flatMap(({ name, path, value }) => {
      const method = path === "method" && isRecord(value) ? value : undefined;
      if (method === undefined) return [[name, value]];
      const { name: called, ...own } = method;
      return [...(called === undefined ? [] : [["method", called]]), ...Object.entries(own)];
    }),
  );
}

/** The place of the value that an issue is about, with what parts it from the text; "" for what all trials share. */
function placeOf(path: readonly PropertyKey[], choices: readonly Choice[]): string {
  const wrong = path.map(String).join(".");
  const within = (a: string, b: string) => a === b || a.startsWith(`${b}.`);
  const choice = choices.findLast((one) => within(wrong, one.path) || within(one.path, wrong));
  return choice === undefined ? "" : `${choice.place}: `;
}
