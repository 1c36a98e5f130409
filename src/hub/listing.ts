/** What the Hub says that a repository holds. */
import { messageOf } from "../base/guards.js";
import { Zo2Error } from "../base/errors.js";
import type { RemoteFile } from "./blob.js";
import type { HubClient } from "./client.js";
import { isCommit } from "./repository.js";

/** A repository of a model has dozens, one of data thousands. */
const MAX_LISTED_FILES = 100_000;

/** The commit that a model's revision stands at now, and the names of its files: one request. */
export async function latest(client: HubClient): Promise<{ commit: string; names: Set<string> }> {
  const { modelInfo } = await import("@huggingface/hub");
  const info = await understood(client, () =>
    modelInfo({ ...revisionOf(client), additionalFields: ["sha", "filePaths"] }),
  );
  const { sha, filePaths } = info as { sha?: unknown; filePaths?: unknown };
  const names = Array.isArray(filePaths) ? filePaths.filter((name): name is string => typeof name === "string") : [];
  return { commit: checkCommit(client, sha), names: new Set(names) };
}

/** The commit that a data set's revision stands at now. */
export async function latestOfDataset(client: HubClient): Promise<string> {
  const { datasetInfo } = await import("@huggingface/hub");
  const info = await understood(client, () => datasetInfo({ ...revisionOf(client), additionalFields: ["sha"] }));
  return checkCommit(client, (info as { sha?: unknown }).sha);
}

function revisionOf({ repository: { id: name, revision }, settings: { endpoint: hubUrl }, api: fetch }: HubClient) {
  return { name, revision, hubUrl, fetch };
}

function checkCommit(client: HubClient, sha: unknown): string {
  const { revision } = client.repository;
  if (typeof sha === "string" && isCommit(sha) && (!isCommit(revision) || sha === revision)) return sha;
  throw new Zo2Error(
    "ZO2_ERR_IO",
    `${client.settings.endpoint}: names ${JSON.stringify(sha)} as the commit of ${client.label}; is it a Hub?`,
  );
}

async function understood<T>(client: HubClient, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Zo2Error) throw error;
    throw new Zo2Error(
      "ZO2_ERR_IO",
      `${client.settings.endpoint}: its answer about ${client.label} cannot be understood: ${messageOf(error)}; ` +
        `is it a Hub?`,
      { cause: error },
    );
  }
}

/** The files at the root of the commit, with what each must be: a model's folders hold other frameworks' weights. */
export function listRoot(client: HubClient, commit: string): Promise<Map<string, RemoteFile>> {
  return listOf(client, commit, false);
}

/** All files of the commit, with what each must be. */
export function listAll(client: HubClient, commit: string): Promise<Map<string, RemoteFile>> {
  return listOf(client, commit, true);
}

async function listOf(client: HubClient, commit: string, recursive: boolean): Promise<Map<string, RemoteFile>> {
  const { listFiles } = await import("@huggingface/hub");
  const { kind: type, id: name } = client.repository;
  return understood(client, async () => {
    const files = new Map<string, RemoteFile>();
    const where = { repo: { type, name }, revision: commit, hubUrl: client.settings.endpoint };
    for await (const entry of listFiles({ ...where, recursive, fetch: client.api })) {
      if (entry.type !== "file") continue;
      const bytes = entry.lfs?.size ?? entry.size;
      const etag = entry.lfs?.oid ?? entry.oid ?? "";
      // The checksum becomes a file's name.
      const right =
        Number.isSafeInteger(bytes) &&
        bytes >= 0 &&
        (entry.lfs === undefined ? /^[0-9a-f]{40}$/ : /^[0-9a-f]{64}$/).test(etag);
      if (!right)
        throw new Error(`${JSON.stringify(entry.path)} with ${bytes} bytes and checksum ${JSON.stringify(etag)}`);
      files.set(entry.path, { name: entry.path, bytes, etag });
      if (files.size > MAX_LISTED_FILES) throw new Error(`more than ${MAX_LISTED_FILES} files`);
    }
    return files;
  });
}
