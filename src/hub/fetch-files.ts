/** Several files at once, into one snapshot. */
import { access, constants, statfs } from "node:fs/promises";
import { makeFolder } from "../base/files.js";
import { Zo2Error } from "../base/errors.js";
import { fetchFile, type RemoteFile } from "./blob.js";
import { type RepositoryCache, sizeOf, writing } from "./cache.js";
import { HubClient } from "./client.js";
import { type DownloadProgress, Meter } from "./progress.js";

const PARALLEL_FILES = 4;

/** @throws Zo2Error ZO2_ERR_IO where there is no room for them; what `fetchFile` throws */
export async function fetchFiles(
  client: HubClient,
  cache: RepositoryCache,
  commit: string,
  files: readonly RemoteFile[],
  onProgress: ((p: DownloadProgress) => void) | undefined,
): Promise<void> {
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  await checkRoom(cache, files);
  const meter = new Meter(bytes, onProgress);
  await inParallel(client, files, (stoppable, file) =>
    fetchFile(stoppable, cache, commit, file, meter.file(file.name, file.bytes)),
  );
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
