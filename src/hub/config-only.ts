/** A repository's `config.json` alone, in the cache that all tools share. */
import { CONFIG_FILE } from "../checkpoint/checkpoint.js";
import { isZo2Error, Zo2Error } from "../base/errors.js";
import { fetchFile } from "./blob.js";
import { RepositoryCache } from "./cache.js";
import { HubClient } from "./client.js";
import { isCommit, type Repository } from "./repository.js";
import type { HubSettings } from "./settings.js";
import { latest, listRoot } from "./listing.js";
import { missingOf, type SnapshotOptions } from "./snapshot.js";

/** The folder of the snapshot of `repository`, which has its `config.json` and may lack all else. */
export async function configFolder(
  repository: Repository,
  settings: HubSettings,
  o: Omit<SnapshotOptions, "onProgress">,
): Promise<string> {
  const { id, revision } = repository;
  const cache = new RepositoryCache(settings.cacheDir, repository);
  const known = await cache.commitOf(revision);
  const held = known !== undefined && (await cache.has(known, CONFIG_FILE)) ? cache.snapshot(known) : undefined;
  if (settings.offline) {
    if (held !== undefined) return held;
    throw new Zo2Error(
      "ZO2_ERR_CHECKPOINT",
      `${id}@${revision}: offline, and ${cache.folder} has no ${CONFIG_FILE} of it; allow the network once ` +
        "(HF_HUB_OFFLINE), or name a folder",
    );
  }
  if (held !== undefined && isCommit(revision)) return held;
  const client = new HubClient(settings, repository, o.signal, o.timing);
  client.checkAborted();
  try {
    return await fetchConfig(client, cache, known);
  } catch (error) {
    if (held === undefined || !isZo2Error(error) || error.code !== "ZO2_ERR_IO") throw error;
    process.emitWarning(`${CONFIG_FILE} of ${id} is used as the cache holds it (${error.message})`, "Zo2Warning");
    return held;
  }
}

async function fetchConfig(client: HubClient, cache: RepositoryCache, known: string | undefined): Promise<string> {
  const { revision } = client.repository;
  const { commit, names } = await latest(client);
  if (!names.has(CONFIG_FILE)) {
    throw new Zo2Error(
      "ZO2_ERR_CHECKPOINT",
      `${client.label}: has no ${CONFIG_FILE} at its root, so it is no model in Hugging Face form`,
    );
  }
  if (!(await cache.has(commit, CONFIG_FILE))) {
    const file = (await listRoot(client, commit)).get(CONFIG_FILE);
    if (file === undefined)
      throw new Zo2Error("ZO2_ERR_CHECKPOINT", `${client.label}: lacks ${CONFIG_FILE}, which its list of files names`);
    await fetchFile(client, cache, commit, file, () => undefined);
  }
  // A note of a commit whose weights are there stays: without a network they could not be found behind another.
  if (known === undefined || (await missingOf(cache, known)).length > 0) await cache.noteCommitOf(revision, commit);
  return cache.snapshot(commit);
}
