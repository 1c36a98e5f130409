/** A snapshot from the cache where it holds one, and otherwise from the Hub. */
import { join } from "node:path";
import { CONFIG_FILE } from "../checkpoint/checkpoint.js";
import { readJsonFile } from "../base/files.js";
import { messageOf } from "../base/guards.js";
import { isZo2Error, Zo2Error } from "../base/errors.js";
import { fetchFile, type RemoteFile } from "./blob.js";
import { isReadOnly, RepositoryCache } from "./cache.js";
import { HubClient, type Timing } from "./client.js";
import { fetchFiles } from "./fetch-files.js";
import { latest, listRoot } from "./listing.js";
import type { DownloadProgress } from "./progress.js";
import { isCommit, type Repository } from "./repository.js";
import { companionsOf, shardsOf, TELLING_FILES, WEIGHT_FORMS, type WeightForm } from "./select.js";
import type { HubSettings } from "./settings.js";

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
  const cache = new RepositoryCache(settings.cacheDir, repository);
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
  await fetchFiles(client, cache, commit, [...small, ...weights], onProgress);
}
