/** A snapshot from the cache where it holds one, and otherwise from the Hub. */
import { access, constants, statfs } from "node:fs/promises";
import { join } from "node:path";
import { CONFIG_FILE } from "../checkpoint/checkpoint.js";
import { makeFolder, readJsonFile } from "../base/files.js";
import { messageOf } from "../base/guards.js";
import { isZo2Error, Zo2Error } from "../base/errors.js";
import { fetchFile, type RemoteFile } from "./blob.js";
import { isReadOnly, RepositoryCache, sizeOf, writing } from "./cache.js";
import { HubClient, type Timing } from "./client.js";
import { type DownloadProgress, Meter } from "./progress.js";
import { isCommit, type Repository } from "./repository.js";
import { companionsOf, shardsOf, TELLING_FILES, WEIGHT_FORMS, type WeightForm } from "./select.js";
import type { HubSettings } from "./settings.js";

const PARALLEL_FILES = 4;
/** A repository of a model has dozens. */
const MAX_LISTED_FILES = 100_000;

export interface SnapshotOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (p: DownloadProgress) => void;
  readonly timing: Timing;
}

/** The folder of the snapshot of `repository`, complete. @throws Zo2Error as `resolveModel` */
export async function snapshotFolder(
  repository: Repository,
  settings: HubSettings,
  o: SnapshotOptions,
): Promise<string> {
  const cache = new RepositoryCache(settings.cacheDir, repository.id);
  const known = await cache.commitOf(repository.revision);
  if (settings.offline) return offlineFolder(cache, repository, known);
  if (known !== undefined && isCommit(repository.revision) && (await isSettled(cache, known)))
    return cache.snapshot(known);
  const client = new HubClient(settings, repository, o.signal, o.timing);
  client.checkAborted();
  let listing: { commit: string; names: Set<string> };
  try {
    listing = await latest(client);
  } catch (error) {
    if (
      !isZo2Error(error) ||
      error.code !== "ZO2_ERR_IO" ||
      known === undefined ||
      (await missingOf(cache, known)).length > 0
    )
      throw error;
    const held = `${repository.id} is used as the cache holds it, at commit ${known}`;
    process.emitWarning(`the Hub was not reached, so ${held} (${error.message})`, "Zo2Warning");
    return cache.snapshot(known);
  }
  const { commit, names } = listing;
  const form = weightForm(repository, names);
  const companions = companionsOf(names);
  if (!(await isHeld(cache, commit, form, companions))) {
    try {
      await download(client, cache, commit, form, companions, o.onProgress);
    } catch (error) {
      if (!isReadOnly(error)) throw error;
      return readOnlyFolder(cache, repository, { known, commit, names }, error);
    }
  }
  for (const name of TELLING_FILES)
    if (!names.has(name) && !(await cache.isAbsent(commit, name))) await cache.noteAbsent(commit, name);
  await cache.noteCommitOf(repository.revision, commit);
  return cache.snapshot(commit);
}

/**
 * What a cache that cannot be written is still good for: `commit`, where all is there without which a model behaves
 * otherwise (a licence may be missing), else the commit at which the branch last stood, with a warning.
 */
async function readOnlyFolder(
  cache: RepositoryCache,
  repository: Repository,
  { known, commit, names }: { known: string | undefined; commit: string; names: ReadonlySet<string> },
  cause: unknown,
): Promise<string> {
  const missing = await missingOf(cache, commit);
  const telling: string[] = [];
  for (const name of TELLING_FILES) if (names.has(name) && !(await cache.has(commit, name))) telling.push(name);
  if (missing.length + telling.length === 0) return cache.snapshot(commit);
  const label = `${repository.id}@${repository.revision}`;
  if (known !== undefined && known !== commit && (await missingOf(cache, known)).length === 0) {
    process.emitWarning(
      `${cache.folder} cannot be written, so ${repository.id} is used as the cache holds it, at commit ${known}; ` +
        `${JSON.stringify(repository.revision)} stands at ${commit} now`,
      "Zo2Warning",
    );
    return cache.snapshot(known);
  }
  const asItIs =
    missing.length === 0 && known === commit
      ? ', or HF_HUB_OFFLINE=1 (option "offline") to load the model without them'
      : "";
  throw new Zo2Error(
    "ZO2_ERR_IO",
    `${label}: ${cache.folder} lacks ${listed([...missing, ...telling])} of commit ${commit}, and cannot be written ` +
      `(${messageOf(isZo2Error(cause) ? cause.cause : cause)}); let this user write there, or set HF_HUB_CACHE ` +
      `(option "cacheDir") to a folder that can be written${asItIs}`,
    { cause },
  );
}

/** The first names, and how many more. */
function listed(names: readonly string[]): string {
  return names.slice(0, 3).join(", ") + (names.length > 3 ? ` and ${names.length - 3} more` : "");
}

async function offlineFolder(
  cache: RepositoryCache,
  repository: Repository,
  known: string | undefined,
): Promise<string> {
  const where = `${repository.id}@${repository.revision}: offline, and ${cache.folder}`;
  const advice = "allow the network once (HF_HUB_OFFLINE), or name a folder";
  if (known === undefined) throw new Zo2Error("ZO2_ERR_CHECKPOINT", `${where} knows no such revision; ${advice}`);
  const missing = await missingOf(cache, known);
  if (missing.length === 0) return cache.snapshot(known);
  throw new Zo2Error("ZO2_ERR_CHECKPOINT", `${where} lacks ${listed(missing)} of commit ${known}; ${advice}`);
}

/** What a snapshot still needs to be loaded, judged without a list of the repository's files. */
export async function missingOf(cache: RepositoryCache, commit: string): Promise<string[]> {
  const missing = (await cache.has(commit, CONFIG_FILE)) ? [] : [CONFIG_FILE];
  for (const form of WEIGHT_FORMS) {
    if (!(await cache.has(commit, form.name))) continue;
    for (const name of await weightFiles(cache, commit, form)) if (!(await cache.has(commit, name))) missing.push(name);
    return missing;
  }
  return [...missing, WEIGHT_FORMS[0]?.name ?? ""];
}

async function isSettled(cache: RepositoryCache, commit: string): Promise<boolean> {
  for (const name of TELLING_FILES)
    if (!(await cache.has(commit, name)) && !(await cache.isAbsent(commit, name))) return false;
  return (await missingOf(cache, commit)).length === 0;
}

async function isHeld(
  cache: RepositoryCache,
  commit: string,
  form: WeightForm,
  companions: readonly string[],
): Promise<boolean> {
  for (const name of [...companions, form.name]) if (!(await cache.has(commit, name))) return false;
  for (const name of await weightFiles(cache, commit, form)) if (!(await cache.has(commit, name))) return false;
  return true;
}

/** The files of weights; an index must be in the snapshot already. */
async function weightFiles(cache: RepositoryCache, commit: string, form: WeightForm): Promise<string[]> {
  if (form.kind === "single") return [form.name];
  const path = join(cache.snapshot(commit), form.name);
  return shardsOf(path, await readJsonFile(path, "ZO2_ERR_CHECKPOINT"));
}

function weightForm(repository: Repository, names: ReadonlySet<string>): WeightForm {
  const { id, revision } = repository;
  if (!names.has(CONFIG_FILE)) {
    throw new Zo2Error(
      "ZO2_ERR_CHECKPOINT",
      `${id}@${revision}: has no ${CONFIG_FILE} at its root, so it is no model in Hugging Face form`,
    );
  }
  const form = WEIGHT_FORMS.find((f) => names.has(f.name));
  if (form !== undefined) return form;
  const other = [...names].filter((name) => /\.(safetensors|bin|gguf|h5|msgpack|onnx|pth?|ckpt)$/.test(name));
  const found = other.length === 0 ? "" : `, though ${other.length} of other forms (${other.slice(0, 3).join(", ")})`;
  throw new Zo2Error(
    "ZO2_ERR_CHECKPOINT",
    `${id}@${revision}: no weights that can be read${found}; they must be ` +
      `${WEIGHT_FORMS.map((f) => f.name).join(", ")}`,
  );
}

/** The commit that the revision stands at now, and the names of its files: one request. */
export async function latest(client: HubClient): Promise<{ commit: string; names: Set<string> }> {
  const { endpoint } = client.settings;
  const { id, revision } = client.repository;
  const { modelInfo } = await import("@huggingface/hub");
  const info = await understood(client, () =>
    modelInfo({ name: id, revision, hubUrl: endpoint, fetch: client.api, additionalFields: ["sha", "filePaths"] }),
  );
  const { sha, filePaths } = info as { sha?: unknown; filePaths?: unknown };
  if (typeof sha !== "string" || !isCommit(sha) || (isCommit(revision) && sha !== revision)) {
    throw new Zo2Error(
      "ZO2_ERR_IO",
      `${endpoint}: names ${JSON.stringify(sha)} as the commit of ${client.label}; is it a Hub?`,
    );
  }
  const names = Array.isArray(filePaths) ? filePaths.filter((name): name is string => typeof name === "string") : [];
  return { commit: sha, names: new Set(names) };
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

/** Small files first: where the weights are complete, so is the rest. */
async function download(
  client: HubClient,
  cache: RepositoryCache,
  commit: string,
  form: WeightForm,
  companions: readonly string[],
  onProgress: ((p: DownloadProgress) => void) | undefined,
): Promise<void> {
  const listed = await listRoot(client, commit);
  const find = (name: string): RemoteFile => {
    const file = listed.get(name);
    if (file === undefined) {
      throw new Zo2Error(
        "ZO2_ERR_CHECKPOINT",
        `${client.label}: lacks ${name}, which its ${name === form.name ? "list of files" : "index"} names`,
      );
    }
    return file;
  };
  if (form.kind === "index") await fetchFile(client, cache, commit, find(form.name), () => undefined);
  const small = [...new Set([...companions, ...(form.kind === "index" ? [form.name] : [])])].map(find);
  const weights = (await weightFiles(cache, commit, form)).map(find);
  const files = [...small, ...weights];
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  await checkRoom(cache, files);
  const meter = new Meter(bytes, onProgress);
  await inParallel(client, files, (stoppable, file) =>
    fetchFile(stoppable, cache, commit, file, meter.file(file.name, file.bytes)),
  );
}

/** The files at the root of the commit, with what each must be: folders hold other frameworks' weights. */
export async function listRoot(client: HubClient, commit: string): Promise<Map<string, RemoteFile>> {
  const { listFiles } = await import("@huggingface/hub");
  const { id } = client.repository;
  return understood(client, async () => {
    const files = new Map<string, RemoteFile>();
    const where = { repo: { type: "model", name: id }, revision: commit, hubUrl: client.settings.endpoint } as const;
    for await (const entry of listFiles({ ...where, fetch: client.api })) {
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

/** Better now than after some hours. */
async function checkRoom(cache: RepositoryCache, files: readonly RemoteFile[]): Promise<void> {
  let needed = 0;
  for (const { etag, bytes } of new Map(files.map((file) => [file.etag, file])).values()) {
    if ((await sizeOf(cache.blob(etag))) !== bytes)
      needed += bytes - Math.min(bytes, (await sizeOf(cache.partial(etag))) ?? 0);
  }
  await writing(cache.folder, async () => {
    await makeFolder(cache.folder);
    // Before the room is looked at: of a disk that is read-only none is free.
    await access(cache.folder, constants.W_OK);
  });
  const disk = await statfs(cache.folder).catch(() => undefined);
  const free = disk === undefined ? Number.POSITIVE_INFINITY : disk.bavail * disk.bsize;
  if (needed > free) {
    throw new Zo2Error(
      "ZO2_ERR_IO",
      `${cache.folder}: ${needed} bytes are to be downloaded, ${free} are free; make room, ` +
        `or set HF_HUB_CACHE to a folder on another disk`,
    );
  }
}

/** The first failure stops the others, and is thrown when they have stopped. */
async function inParallel(
  client: HubClient,
  files: readonly RemoteFile[],
  work: (client: HubClient, file: RemoteFile) => Promise<void>,
): Promise<void> {
  const control = new AbortController();
  const { signal } = client;
  const stop = () => control.abort(signal?.reason);
  signal?.addEventListener("abort", stop, { once: true });
  if (signal?.aborted === true) stop();
  const stoppable = new HubClient(client.settings, client.repository, control.signal, client.timing);
  const queue = files.values();
  const failures: unknown[] = [];
  const worker = async () => {
    for (const file of queue) {
      try {
        await work(stoppable, file);
      } catch (error) {
        failures.push(error);
        control.abort();
      }
      if (control.signal.aborted) return;
    }
  };
  try {
    await Promise.all(Array.from({ length: PARALLEL_FILES }, worker));
  } finally {
    signal?.removeEventListener("abort", stop);
  }
  if (failures.length > 0) throw failures[0];
  client.checkAborted();
}
