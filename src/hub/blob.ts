/** One file's bytes, from wherever the last attempt stopped to a blob whose checksum is right. */
import { createHash, type Hash } from "node:crypto";
import { constants } from "node:fs";
import { open, rename, rm, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { Zo2Error } from "../base/errors.js";
import { makeFolder } from "../base/files.js";
import { type RepositoryCache, sizeOf, writing } from "./cache.js";
import { Attempts, type HubClient, type HubResponse, PassingTrouble } from "./client.js";
import { withLock } from "./lock.js";

/** A file as the Hub lists it. */
export interface RemoteFile {
  readonly name: string;
  readonly bytes: number;
  /** Hexadecimal: the SHA-256 of a large file, or git's SHA-1 of a small one. */
  readonly etag: string;
}

const READ_BYTES = 2 ** 20;

/** Puts the file into the snapshot `commit`. `report` gets the bytes there so far. */
export async function fetchFile(
  client: HubClient,
  cache: RepositoryCache,
  commit: string,
  file: RemoteFile,
  report: (done: number) => void,
): Promise<void> {
  const blob = cache.blob(file.etag);
  if ((await sizeOf(blob)) !== file.bytes) {
    client.checkAborted();
    await withLock(cache.lock(file.etag), client.signal, async () => {
      client.checkAborted();
      // Someone else may have brought it while we waited.
      if ((await sizeOf(blob)) !== file.bytes)
        await writing(blob, () => new Download(client, cache, commit, file, report).run());
    });
  }
  await cache.link(commit, file.name, file.etag);
  report(file.bytes);
}

/**
 * Bytes are written at their own offsets and in order, so a partial file never has holes, and even two writers without
 * a lock would write the same bytes to the same places.
 */
class Download {
  private readonly url: string;
  private readonly path: string;
  private readonly hash: Hash;
  private offset = 0;

  constructor(
    private readonly client: HubClient,
    private readonly cache: RepositoryCache,
    commit: string,
    private readonly file: RemoteFile,
    private readonly report: (done: number) => void,
  ) {
    this.url = client.fileUrl(commit, file.name);
    this.path = cache.partial(file.etag);
    this.hash = createHash(file.etag.length === 64 ? "sha256" : "sha1");
    if (file.etag.length !== 64) this.hash.update(`blob ${file.bytes}\0`);
  }

  async run(): Promise<void> {
    await makeFolder(dirname(this.path));
    const handle = await openPartial(this.path, this.file.bytes);
    try {
      await this.readPartial(handle);
      const attempts = new Attempts(this.client, this.url);
      while (this.offset < this.file.bytes) {
        const before = this.offset;
        try {
          await this.receive(handle);
        } catch (error) {
          if (this.offset > before) attempts.progressed();
          await attempts.failed(error);
        }
      }
      await this.verify();
      await handle.sync();
    } finally {
      await handle.close();
    }
    await this.finish();
  }

  /** What an earlier download left counts, once its bytes are part of the checksum. */
  private async readPartial(handle: FileHandle): Promise<void> {
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    for (;;) {
      this.client.checkAborted();
      const { bytesRead } = await handle.read(
        buffer,
        0,
        Math.min(READ_BYTES, this.file.bytes - this.offset),
        this.offset,
      );
      if (bytesRead === 0) break;
      this.hash.update(buffer.subarray(0, bytesRead));
      this.offset += bytesRead;
    }
    this.report(this.offset);
  }

  private async receive(handle: FileHandle): Promise<void> {
    const response = await this.client.open(this.url, this.offset === 0 ? {} : { range: `bytes=${this.offset}-` });
    let skip = await this.bytesToSkip(response);
    for await (const chunk of response.chunks) {
      const fresh = chunk.subarray(Math.min(skip, chunk.byteLength));
      skip -= chunk.byteLength - fresh.byteLength;
      const over = this.offset + fresh.byteLength > this.file.bytes;
      if (over) throw await this.broken(`sends more than the ${this.file.bytes} bytes that the list of files names`);
      await writeAll(handle, fresh, this.offset);
      this.hash.update(fresh);
      this.offset += fresh.byteLength;
      this.report(this.offset);
    }
    if (this.offset < this.file.bytes)
      throw new PassingTrouble(`an end after ${this.offset} bytes of ${this.file.bytes}`);
  }

  /** A server without ranges sends everything again: what we have of it is passed over. */
  private async bytesToSkip(response: HubResponse): Promise<number> {
    const { status, headers } = response;
    const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get("content-range") ?? "");
    const start = status === 206 ? Number(range?.[1]) : 0;
    const length = headers.has("content-encoding") ? null : headers.get("content-length");
    const total = status === 206 ? Number(range?.[2]) : Number(length ?? Number.NaN);
    const right =
      status !== 416 && (status !== 206 || start === this.offset) && (Number.isNaN(total) || total === this.file.bytes);
    if (right) return status === 206 ? 0 : this.offset;
    await response.discard();
    const asked = `those from ${this.offset} of ${this.file.bytes} were asked for`;
    throw await this.broken(`answers status ${status} with bytes from ${start} of ${total}, where ${asked}`);
  }

  private async verify(): Promise<void> {
    const digest = this.hash.digest("hex");
    if (digest !== this.file.etag)
      throw await this.broken(`has the checksum ${digest}, and the list of files names ${this.file.etag}`);
  }

  /** The file cannot be trusted, nor can what is there of it. */
  private async broken(what: string): Promise<Zo2Error> {
    await rm(this.path, { force: true });
    return new Zo2Error("ZO2_ERR_CHECKPOINT", `${this.url}: ${what}; the partial file was deleted, try again`);
  }

  /** Without a lock, another download of the same bytes may be first, or may have begun the partial file anew. */
  private async finish(): Promise<void> {
    const blob = this.cache.blob(this.file.etag);
    if ((await sizeOf(this.path)) === this.file.bytes) await rename(this.path, blob).catch(() => undefined);
    if ((await sizeOf(blob)) === this.file.bytes) return;
    throw new Zo2Error(
      "ZO2_ERR_IO",
      `${this.path}: could not become ${blob}, or another program changed it meanwhile; try again`,
    );
  }
}

/** A partial file that is longer than the whole is of no use. */
async function openPartial(path: string, bytes: number): Promise<FileHandle> {
  const handle = await open(path, constants.O_RDWR | constants.O_CREAT, 0o666);
  try {
    if ((await handle.stat()).size > bytes) await handle.truncate(0);
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.byteLength; ) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.byteLength - done, position + done);
    done += bytesWritten;
  }
}
