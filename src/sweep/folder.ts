/** The folder of a sweep: which trials it keeps, and how far each of them is. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { Zo2Error } from "../base/errors.js";
import { makeFolder, readJsonFile, replaceTextFile } from "../base/files.js";
import { errnoOf, messageOf } from "../base/guards.js";
import { hashOfJson } from "../base/hash.js";
import { fingerprintOfFile } from "../data/fingerprint.js";
import type { SweptValues } from "../config/sweep.js";
import { folderName, numberOf } from "./names.js";
import { comparable, plain, type PlannedTrial } from "./trials.js";

/** In the folder of a trial, beside its run. */
const TRIAL_FILE = "trial.json";

const trialFileSchema = z.object({
  format: z.literal(1),
  /** Of all options that make the trial what it is. */
  key: z.string(),
  values: z.record(z.string(), z.unknown()),
  state: z.enum(["begun", "done", "diverged"]),
  /** Of all processes that have trained it. */
  seconds: z.number().min(0),
  /** Why it has diverged. */
  message: z.string().optional(),
});
type TrialFile = z.output<typeof trialFileSchema>;

/** How far a trial is: `"new"`: nothing of it is there. */
export type TrialState = TrialFile["state"] | "new";

/** A trial and its folder, which need not be there yet. */
export interface PlacedTrial extends PlannedTrial {
  /** Of its folder, in that of the sweep. */
  readonly name: string;
  readonly dir: string;
  readonly key: string;
  readonly state: TrialState;
  readonly seconds: number;
  readonly message: string | undefined;
}

/**
 * Gives each trial its folder: the one that keeps an equal trial already, else a new number behind those in use.
 * @throws Zo2Error ZO2_ERR_IO, ZO2_ERR_JOURNAL for a trial's file that cannot be understood
 */
export async function placeTrials(dir: string, trials: readonly PlannedTrial[]): Promise<readonly PlacedTrial[]> {
  const names = await foldersIn(dir);
  const kept = new Map<string, TrialFile & { readonly name: string }>();
  for (const name of names) {
    const file = await readTrial(join(dir, name, TRIAL_FILE));
    if (file !== undefined) kept.set(file.key, { ...file, name });
  }
  const hashes = new Map<string, string>();
  let number = Math.max(0, ...names.map(numberOf));
  const placed: PlacedTrial[] = [];
  for (const trial of trials) {
    const key = await hashOfJson({ ...comparable(trial.resolved), heldOut: await heldOutOf(trial, hashes) });
    const old = kept.get(key);
    const name = old?.name ?? folderName(++number, trial.values);
    const { state = "new", seconds = 0, message } = old ?? {};
    placed.push({ ...trial, name, dir: join(dir, name), key, state, seconds, message });
  }
  return placed;
}

/** Writes down how far a trial is, in its folder. @throws Zo2Error ZO2_ERR_IO */
export async function keepTrial(
  { dir, key, values }: Pick<PlacedTrial, "dir" | "key" | "values">,
  now: Pick<TrialFile, "state" | "seconds" | "message">,
): Promise<void> {
  const file = { format: 1, key, values: plain(values as SweptValues & object), ...now };
  try {
    await makeFolder(dir);
    await replaceTextFile(join(dir, TRIAL_FILE), `${JSON.stringify(file, undefined, 2)}\n`);
  } catch (error) {
    throw new Zo2Error("ZO2_ERR_IO", `${dir}: no trial can be kept there: ${messageOf(error)}`, { cause: error });
  }
}

/** What tells the held-out data of a trial from other; null for a data set that is open. */
async function heldOutOf({ resolved }: PlannedTrial, hashes: Map<string, string>): Promise<string | null> {
  const data = resolved.evaluation?.data;
  if (typeof data !== "string") return Array.isArray(data) ? hashOfJson(data) : null;
  const hash = hashes.get(data) ?? (await fingerprintOfFile(data));
  hashes.set(data, hash);
  return hash;
}

async function foldersIn(dir: string): Promise<string[]> {
  try {
    const entries = await readdir(dir, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw new Zo2Error("ZO2_ERR_IO", `${dir}: no sweep can be kept there: ${messageOf(error)}`, { cause: error });
  }
}

/** Undefined where a folder keeps no trial. */
async function readTrial(path: string): Promise<TrialFile | undefined> {
  const value = await readJsonFile(path, "ZO2_ERR_JOURNAL");
  if (value === undefined) return undefined;
  const { success, data } = trialFileSchema.safeParse(value);
  if (success) return data;
  throw new Zo2Error("ZO2_ERR_JOURNAL", `${path}: not what a sweep writes; move the folder away, or sweep in another`);
}
