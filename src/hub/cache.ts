/**
 * The folder of one model in the cache that all tools of Hugging Face share (of a data set: `datasets--org--name`):
 *
 *     models--org--name/blobs/<etag>                    the bytes, named by their checksum
 *                       blobs/<etag>.incomplete         what has come so far
 *                       refs/<branch or tag>            the commit it stood at
 *                       snapshots/<commit>/<file>       relative links to blobs
 *                       .no_exist/<commit>/<file>       empty: the commit has no such file
 *     .locks/models--org--name/<etag>.lock              held while a blob is written
 */
import { randomBytes } from "node:crypto";
import { copyFile, readlink, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { exists, makeFolder, readTextFile } from "../base/files.js";
import { errnoOf, messageOf } from "../base/guards.js";
import { Zo2Error } from "../base/errors.js";
import { isCommit, type Repository } from "./repository.js";

const NO_LINKS = new Set(["EPERM", "ENOSYS", "EOPNOTSUPP", "ENOTSUP"]);
const READ_ONLY = new Set(["EROFS", "EACCES", "EPERM"]);
const DISK_FULL = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);

/**
 * Names inside one repository's folder. Every `etag` and `commit` given here is hexadecimal, every `name` a plain file
 * name.
 */
export class RepositoryCache {
  readonly folder: string;
  private readonly locks: string;

  constructor(
    readonly cacheDir: string,
    { kind, id }: Pick<Repository, "kind" | "id">,
  ) {
    const name = `${kind}s--${id.split("/").join("--")}`;
    this.folder = join(cacheDir, name);
    this.locks = join(cacheDir, ".locks", name);
  }

  snapshot(commit: string): string {
    return join(this.folder, "snapshots", commit);
  }

  blob(etag: string): string {
    return join(this.folder, "blobs", etag);
  }

  partial(etag: string): string {
    return `${this.blob(etag)}.incomplete`;
  }

  lock(etag: string): string {
    return join(this.locks, `${etag}.lock`);
  }

  /** The commit that `revision` last stood at, as far as the cache knows. */
  async commitOf(revision: string): Promise<string | undefined> {
    if (isCommit(revision)) return revision;
    const text = (await readTextFile(join(this.folder, "refs", revision), "ZO2_ERR_CHECKPOINT"))?.trim();
    return text !== undefined && isCommit(text) ? text : undefined;
  }

  /** Notes the commit that `revision` stands at. A note that cannot be written is missed offline only. */
  async noteCommitOf(revision: string, commit: string): Promise<void> {
    if (isCommit(revision) || (await this.commitOf(revision)) === commit) return;
    const path = join(this.folder, "refs", revision);
    const temporary = `${path}.${randomBytes(6).toString("hex")}`;
    await noting(async () => {
      await makeFolder(dirname(path));
      await writeFile(temporary, commit);
      await rename(temporary, path);
    }, temporary);
  }

  /** Whether the snapshot has the file, with its bytes. */
  has(commit: string, name: string): Promise<boolean> {
    return exists(join(this.snapshot(commit), name));
  }

  /** Whether it is on record that the commit has no such file. */
  isAbsent(commit: string, name: string): Promise<boolean> {
    return exists(this.absent(commit, name));
  }

  /** Notes that the commit has no such file. A note that cannot be written costs a question at the next load. */
  async noteAbsent(commit: string, name: string): Promise<void> {
    const path = this.absent(commit, name);
    await noting(async () => {
      await makeFolder(dirname(path));
      await writeFile(path, "");
    });
  }

  private absent(commit: string, name: string): string {
    return join(this.folder, ".no_exist", commit, name);
  }

  /** Makes the snapshot's file `name` a link to the blob. Where the disk knows no links, the file is a copy. */
  async link(commit: string, name: string, etag: string): Promise<void> {
    const path = join(this.snapshot(commit), name);
    const target = relative(dirname(path), this.blob(etag));
    await writing(path, async () => {
      await makeFolder(dirname(path));
      if ((await readlink(path).catch(() => undefined)) === target) return;
      const temporary = `${path}.${randomBytes(6).toString("hex")}`;
      try {
        await symlink(target, temporary).catch(async (error: unknown) => {
          if (!NO_LINKS.has(errnoOf(error) ?? "")) throw error;
          await copyFile(this.blob(etag), temporary);
        });
        await rename(temporary, path);
      } catch (error) {
        await rm(temporary, { force: true });
        throw error;
      }
    });
  }
}

/** The bytes of the file at `path`, undefined where there is none. @throws Zo2Error ZO2_ERR_IO */
export async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENOTDIR") return undefined;
    throw new Zo2Error("ZO2_ERR_IO", `${path}: cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

/** Runs `work`; a failure of the system becomes `ZO2_ERR_IO` with the path. */
export async function writing<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = errnoOf(error);
    if (error instanceof Zo2Error || code === undefined) throw error;
    const advice = DISK_FULL.has(code)
      ? "the disk is full, and what has come is kept: make room and try again, or set HF_HUB_CACHE " +
        '(option "cacheDir") to a folder on another disk'
      : "is there room, and may this user write there?";
    throw new Zo2Error("ZO2_ERR_IO", `${path}: cannot be written: ${messageOf(error)}; ${advice}`, { cause: error });
  }
}

/** Whether `error` is that of `writing` where this user may not write. */
export function isReadOnly(error: unknown): boolean {
  return error instanceof Zo2Error && error.code === "ZO2_ERR_IO" && READ_ONLY.has(errnoOf(error.cause) ?? "");
}

/** Writes what the cache is complete without. `temporary` is removed where that fails. */
async function noting(work: () => Promise<void>, temporary?: string): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    if (temporary !== undefined) await rm(temporary, { force: true }).catch(() => undefined);
  }
}
