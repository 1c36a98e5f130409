/**
 * Weights of a run amid it, as folders that any tool of Hugging Face reads, in `snapshots/`: from them a run is taken
 * up without the replay of the steps before.
 */
import { readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { Zo2Error } from "../base/errors.js";
import { readJsonFile } from "../base/files.js";
import { errnoOf, messageOf } from "../base/guards.js";
import { Hasher } from "../base/hash.js";
import type { Warning } from "../base/warnings.js";
import type { TensorSource } from "../checkpoint/index.js";
import type { Loaded } from "../loaded.js";
import { saveWeights } from "../save.js";
import { readWeights } from "./read-weights.js";
import { fingerprintOfUpdates, type Updates, updatesOf } from "./updates.js";

/** In the folder of a run. */
const SNAPSHOTS = "snapshots";
/** In the folder of a snapshot: its place in the journal. */
const PLACE_FILE = "snapshot.json";
const FOLDER = /^step-(\d+)$/;
/** What was being written, or taken away, when a process ended. */
const LEFT_OVER = /^\.step-\d+\..*\.(?:tmp|old)$/;

const hash = z.string().regex(/^[0-9a-f]{32}$/);
const placeSchema = z.strictObject({
  /** Steps that had been taken. */
  steps: z.int().min(1),
  /** Of the run's header and the updates that count: see `fingerprintOfUpdates`. */
  updates: hash,
  /** XXH128 of each tensor's bytes. */
  tensors: z.record(z.string(), hash),
});

/**
 * Writes the weights as they are, which the first `taken` steps of a run have made.
 * @returns the folder @throws Zo2Error ZO2_ERR_IO
 */
export async function writeSnapshot(dir: string, loaded: Loaded, run: Updates, taken: number): Promise<string> {
  const folder = join(dir, SNAPSHOTS, `step-${taken}`);
  const updates = await fingerprintOfUpdates(run.header, updatesOf(run, taken));
  const hashers = new Map<string, Hasher>();
  const through = (tensor: TensorSource): TensorSource => ({
    ...tensor,
    read: async (offset, into) => {
      await tensor.read(offset, into);
      // The writer reads every tensor once, from its first byte to its last.
      const hasher = hashers.get(tensor.name) ?? (await Hasher.create());
      hashers.set(tensor.name, hasher);
      hasher.update(into);
    },
  });
  const also = () => {
    const tensors = Object.fromEntries([...hashers].map(([name, hasher]) => [name, hasher.digest()]));
    return { [PLACE_FILE]: `${JSON.stringify({ steps: taken, updates, tensors }, null, 2)}\n` };
  };
  await saveWeights(loaded, folder, { through, also });
  return folder;
}

/** Takes away all but the newest `keep` snapshots. */
export async function pruneSnapshots(dir: string, keep: number): Promise<void> {
  for (const { path } of (await listSnapshots(dir)).slice(keep)) await remove(dir, path);
}

/** Takes away what a process that ended amid a snapshot has left. */
export async function clearLeftOvers(dir: string): Promise<void> {
  const folder = join(dir, SNAPSHOTS);
  for (const name of await namesIn(folder))
    if (LEFT_OVER.test(name)) await rm(join(folder, name), { recursive: true, force: true });
}

/**
 * Puts the newest weights in place that are those of the run after some of its steps.
 * @returns those steps; 0: there is no such snapshot. The weights are as they were then, or nobody's where one that was
 *   begun turned out to be damaged: the session's `revision` tells
 */
export async function readNewestSnapshot(
  dir: string,
  loaded: Loaded,
  run: Updates,
  o: { readonly least: number; readonly signal?: AbortSignal | undefined; onWarning(warning: Warning): void },
): Promise<number> {
  const all = updatesOf(run);
  for (const { path, steps } of await listSnapshots(dir)) {
    const updates = all.filter(({ step }) => step < steps);
    if (steps > run.steps.length || updates.length < o.least) continue;
    try {
      const place = await readPlace(path);
      // Steps that were dropped since then are in its weights, or it is of another run.
      if (place.updates !== (await fingerprintOfUpdates(run.header, updates))) continue;
      await readWeights(loaded, path, (name) => place.tensors[name], o.signal);
      return steps;
    } catch (error) {
      if (error instanceof Zo2Error && error.code === "ZO2_ERR_ABORTED") throw error;
      o.onWarning({
        code: "ZO2_WARN_SNAPSHOT",
        message: `${path}: is not used: ${messageOf(error)}; the run goes on from an older one, or from its base`,
      });
    }
  }
  return 0;
}

async function readPlace(path: string): Promise<z.output<typeof placeSchema>> {
  const file = join(path, PLACE_FILE);
  const result = placeSchema.safeParse(await readJsonFile(file, "ZO2_ERR_CHECKPOINT"));
  if (result.success) return result.data;
  throw new Zo2Error("ZO2_ERR_CHECKPOINT", `${file}: is not the place of a snapshot in a journal`);
}

/** The newest first. */
async function listSnapshots(dir: string): Promise<{ readonly path: string; readonly steps: number }[]> {
  const folder = join(dir, SNAPSHOTS);
  const found = (await namesIn(folder)).flatMap((name) => {
    const [, steps] = FOLDER.exec(name) ?? [];
    return steps === undefined ? [] : [{ path: join(folder, name), steps: Number(steps) }];
  });
  return found.sort((a, b) => b.steps - a.steps);
}

/** None where there is no such folder; what is wrong with it shows when it is written to. */
async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}

/** Out of sight first, so that no end of the process leaves half of one that looks whole. */
async function remove(dir: string, path: string): Promise<void> {
  const aside = join(dir, SNAPSHOTS, `.${path.slice(path.lastIndexOf("step-"))}.${process.pid}.old`);
  try {
    await rename(path, aside);
    await rm(aside, { recursive: true, force: true });
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return;
    throw new Zo2Error("ZO2_ERR_IO", `${path}: an old snapshot cannot be taken away: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
