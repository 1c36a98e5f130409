/** The Parquet files of a data set's split, from the cache or the Hub. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { isZo2Error, Zo2Error } from "../base/errors.js";
import { errnoOf, messageOf } from "../base/guards.js";
import { RepositoryCache } from "./cache.js";
import { HubClient, type Timing } from "./client.js";
import { fetchFiles } from "./fetch-files.js";
import { latestOfDataset, listAll } from "./listing.js";
import type { DownloadProgress } from "./progress.js";
import { isCommit, type Repository } from "./repository.js";
import type { HubSettings } from "./settings.js";

/** Where the Hub keeps what it has made of data sets that are not Parquet themselves. */
const CONVERTED = "refs/convert/parquet";

/** Split, and the number of its parts where the name says it. */
const PART = /^(\w+)(?:-\d+-of-(\d+)(?:-[0-9a-f]+)?|\/\d+)?\.parquet$/;

/** A part of a data set. */
export interface SplitOf {
  /** Subset, "" or "default" where there is but one. */
  readonly config: string;
  readonly split: string;
}

export interface DatasetFilesOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((p: DownloadProgress) => void) | undefined;
  readonly timing: Timing;
}

/**
 * The files of each split, in order, in the snapshot of the repository, or where it has no Parquet, of the branch on
 * which the Hub has converted it. When the Hub cannot be reached, what the cache holds is used, with a warning.
 * @throws Zo2Error ZO2_ERR_CHECKPOINT where there are none, ZO2_ERR_IO, ZO2_ERR_ABORTED
 */
export async function datasetFiles(
  repository: Repository,
  splits: readonly SplitOf[],
  settings: HubSettings,
  o: DatasetFilesOptions,
): Promise<string[][]> {
  const cache = new RepositoryCache(settings.cacheDir, repository);
  const places = [repository, { ...repository, revision: CONVERTED }];
  const held = async () => {
    for (const { revision } of places) {
      const commit = await cache.commitOf(revision);
      const files = commit === undefined ? undefined : chosen(await namesIn(cache.snapshot(commit)), splits);
      if (commit !== undefined && files !== undefined) return paths(cache, commit, files);
    }
    return undefined;
  };
  const { id, revision } = repository;
  if (settings.offline || isCommit(revision)) {
    const files = await held();
    if (files !== undefined) return files;
  }
  if (settings.offline) {
    const what = `offline, and ${cache.folder} lacks the Parquet files of ${described(splits)}`;
    throw new Zo2Error(
      "ZO2_ERR_CHECKPOINT",
      `${id}@${revision}: ${what}; allow the network once (HF_HUB_OFFLINE), or give the data as local files`,
    );
  }
  try {
    for (const place of places) {
      const client = new HubClient(settings, place, o.signal, o.timing);
      const found = await fetchSplits(client, cache, splits, o).catch((error: unknown) => {
        // Not every data set has that branch.
        if (place === repository || !isZo2Error(error) || error.code !== "ZO2_ERR_CHECKPOINT") throw error;
        return undefined;
      });
      if (found !== undefined) return found;
    }
  } catch (error) {
    const files = isZo2Error(error) && error.code === "ZO2_ERR_IO" ? await held() : undefined;
    if (files === undefined) throw error;
    process.emitWarning(`${id} is used as the cache holds it (${messageOf(error)})`, "Zo2Warning");
    return files;
  }
  throw new Zo2Error(
    "ZO2_ERR_CHECKPOINT",
    `${id}@${revision}: has no Parquet files of ${described(splits)}, nor has its branch ${CONVERTED}; give the data ` +
      "as local files",
  );
}

async function fetchSplits(
  client: HubClient,
  cache: RepositoryCache,
  splits: readonly SplitOf[],
  { onProgress }: DatasetFilesOptions,
): Promise<string[][] | undefined> {
  client.checkAborted();
  const { revision } = client.repository;
  const commit = await latestOfDataset(client);
  const listed = await listAll(client, commit);
  const files = chosen([...listed.keys()], splits);
  if (files === undefined) return undefined;
  const missing = [];
  for (const name of files.flat()) {
    const file = listed.get(name);
    if (file !== undefined && !(await cache.has(commit, name))) missing.push(file);
  }
  if (missing.length > 0) await fetchFiles(client, cache, commit, missing, onProgress);
  await cache.noteCommitOf(revision, commit);
  return paths(cache, commit, files);
}

function paths(cache: RepositoryCache, commit: string, files: readonly (readonly string[])[]): string[][] {
  return files.map((names) => names.map((name) => join(cache.snapshot(commit), name)));
}

/** The files of every split, of those that `names` has; undefined where one has none, or not all of its parts. */
function chosen(names: readonly string[], splits: readonly SplitOf[]): string[][] | undefined {
  const files = splits.map((split) => splitFiles(names, split));
  return files.every((own): own is string[] => own !== undefined) ? files : undefined;
}

/**
 * As repositories name them: `CONFIG/SPLIT-00000-of-00002.parquet`, for the only config `data/` or the root, and on the
 * branch of converted files `CONFIG/SPLIT/0000.parquet`.
 */
export function splitFiles(names: readonly string[], { config, split }: SplitOf): string[] | undefined {
  const folders = config === "" || config === "default" ? ["default/", "data/", ""] : [`${config}/`];
  for (const folder of folders) {
    const parts = names.flatMap((name) => {
      const [, own, of] = name.startsWith(folder) ? (PART.exec(name.slice(folder.length)) ?? []) : [];
      return own === split ? [{ name, of: Number(of ?? 0) }] : [];
    });
    const sharded = parts.filter(({ of }) => of > 0);
    if (sharded.length > 0 && sharded.length !== sharded[0]?.of) continue;
    if (parts.length > 0) return parts.map(({ name }) => name).sort();
  }
  return undefined;
}

function described(splits: readonly SplitOf[]): string {
  return splits.map(({ config, split }) => (config === "" ? split : `${config}/${split}`)).join(" and ");
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { recursive: true });
    return entries.map((name) => name.replaceAll("\\", "/"));
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw new Zo2Error("ZO2_ERR_IO", `${folder}: cannot be read: ${messageOf(error)}`, { cause: error });
  }
}
