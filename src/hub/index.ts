import { stat } from "node:fs/promises";
import { errnoOf, messageOf } from "../base/guards.js";
import { Zo2Error } from "../base/errors.js";
import { configFolder } from "./config-only.js";
import { datasetFiles, splitFiles, type SplitOf } from "./dataset.js";
import type { DownloadProgress } from "./progress.js";
import { parseRepository } from "./repository.js";
import { hubSettings } from "./settings.js";
import { snapshotFolder } from "./snapshot.js";

export { splitFiles, type SplitOf };
export type { DownloadProgress } from "./progress.js";

const TIMING = { retryMs: 500, stallMs: 30_000 };

export interface ResolveModelOptions {
  /** A branch, a tag or a commit. @default "main" */
  readonly revision?: string;
  /**
   * The cache that all tools of Hugging Face share. @default HF_HUB_CACHE, or `hub` in HF_HOME, or
   * `~/.cache/huggingface/hub`
   */
  readonly cacheDir?: string;
  /**
   * For gated and private repositories; "" for none. @default HF_TOKEN, or the file HF_TOKEN_PATH, or `token` in
   * HF_HOME
   */
  readonly token?: string;
  /** @default HF_ENDPOINT, or "https://huggingface.co" */
  readonly endpoint?: string;
  /** Use only what the cache holds. @default HF_HUB_OFFLINE */
  readonly offline?: boolean;
  /** Whether `config.json` is all that is needed: the folder may lack all else then. @default false */
  readonly configOnly?: boolean;
  /** Stops the download. What has come is kept, and the next call goes on from there. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (p: DownloadProgress) => void;
  /** Where the defaults come from. @default process.env */
  readonly env?: NodeJS.ProcessEnv;
}

/**
 * The folder of a model: `nameOrDir` itself where it is a folder, else the snapshot of the Hub repository "org/name" or
 * "org/name@revision" in the shared cache, where it is downloaded to: `config.json`, the tokenizer, and the weights as
 * safetensors or, where there are none, as `pytorch_model.bin`. A file is resumed where it was cut, and its length and
 * checksum are checked. When the Hub cannot be reached, a snapshot that the cache holds is used, with a warning.
 *
 * @throws Zo2Error ZO2_ERR_CHECKPOINT for no such folder, repository or revision, a gated one, weights of another form
 *   or a file with the wrong checksum; ZO2_ERR_CONFIG for an option or a variable; ZO2_ERR_IO for the network (after
 *   some attempts) or the disk; ZO2_ERR_ABORTED
 */
export async function resolveModel(nameOrDir: string, o: ResolveModelOptions = {}): Promise<string> {
  if (await isFolder(nameOrDir)) return nameOrDir;
  const repository = parseRepository(nameOrDir, o.revision);
  if (repository === undefined) {
    throw new Zo2Error(
      "ZO2_ERR_CHECKPOINT",
      `${nameOrDir}: there is no such folder, and it is not the id of a Hub repository ("org/name" or ` +
        '"org/name@revision")',
    );
  }
  const settings = await hubSettings(o, o.env ?? process.env);
  const how = { timing: TIMING, ...(o.signal === undefined ? {} : { signal: o.signal }) };
  if (o.configOnly === true) return configFolder(repository, settings, how);
  return snapshotFolder(repository, settings, {
    ...how,
    ...(o.onProgress === undefined ? {} : { onProgress: o.onProgress }),
  });
}

/** How a data set of the Hub is found; the same as of a model. */
export type ResolveDatasetOptions = Omit<ResolveModelOptions, "configOnly">;

/**
 * The Parquet files of splits of the Hub's data set "org/name" or "org/name@revision", in the shared cache, where they
 * are downloaded to as a model's are.
 * @returns for each of `splits` its files, in order
 * @throws Zo2Error ZO2_ERR_CHECKPOINT for no such data set or no Parquet of these splits; else as `resolveModel`
 */
export async function resolveDataset(
  name: string,
  splits: readonly SplitOf[],
  o: ResolveDatasetOptions = {},
): Promise<string[][]> {
  const repository = parseRepository(name, o.revision, "dataset");
  if (repository === undefined)
    throw new Zo2Error("ZO2_ERR_CONFIG", `${name}: is not the id of a data set of the Hub ("org/name")`);
  const settings = await hubSettings(o, o.env ?? process.env);
  return datasetFiles(repository, splits, settings, { timing: TIMING, signal: o.signal, onProgress: o.onProgress });
}

/** @throws Zo2Error ZO2_ERR_CHECKPOINT for a file, ZO2_ERR_IO for what cannot be looked at */
async function isFolder(path: string): Promise<boolean> {
  try {
    if ((await stat(path)).isDirectory()) return true;
  } catch (error) {
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENOTDIR" || errnoOf(error) === "ENAMETOOLONG") return false;
    throw new Zo2Error("ZO2_ERR_IO", `${path}: cannot be read: ${messageOf(error)}`, { cause: error });
  }
  throw new Zo2Error(
    "ZO2_ERR_CHECKPOINT",
    `${path}: is a file; give the folder that holds it, or the id of a Hub repository`,
  );
}
