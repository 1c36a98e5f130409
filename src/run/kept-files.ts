/**
 * The files of the weights that rest on disk, as a run keeps them: a crash leaves units there whose seals say which of
 * the run's updates they have, and a run that is resumed lacks the others alone.
 */
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { isZo2Error, Zo2Error } from "../base/errors.js";
import { readJsonFile, replaceTextFile, syncFolder } from "../base/files.js";
import { errnoOf, messageOf } from "../base/guards.js";
import { Checksum, hashOfJson } from "../base/hash.js";
import type { Warning } from "../base/warnings.js";
import { SEAL_BYTES } from "../contract/constants.js";
import type { HostBytes, WeightFile, WeightStore } from "../device/store.js";
import { isNameOfKept, nameOfKept } from "../device/disk-space.js";
import type { RunHeader } from "../journal/header.js";
import type { Loaded } from "../loaded.js";
import { FILE_HEAD_BYTES } from "../memory/rest.js";
import { decodeSeal, type Seal } from "./seal.js";
import { UpdatesFingerprint, type Updates, updatesOf } from "./updates.js";

/** In the folder of a run: where its files are. */
export const PLACE_FILE = "disk.json";
const MAGIC = Buffer.from("zo2disk1");
const IDENTITY_BYTES = 16;
/** Bytes of a unit that are read at once. */
const PIECE_BYTES = 8 * 2 ** 20;

const count = z.int().min(0);
const fileSchema = z.strictObject({
  path: z.string(),
  /** Those in the file. */
  units: z.array(z.strictObject({ unit: count, seal: count, offset: count, bytes: count })),
});
const placeSchema = z.strictObject({
  /** Of the run and of how its weights are cut into units: `identityOf`. */
  identity: z.string().regex(/^[0-9a-f]{32}$/),
  files: z.array(fileSchema),
});
type Place = z.output<typeof placeSchema>;
type PlacedFile = z.output<typeof fileSchema>;

/** The names that a session's files have. */
const named = new WeakMap<WeightStore, readonly string[]>();

/** What a crash costs where no name leads to the files. */
const COSTS = "a crash costs the replay of every step since the last snapshot, or since the base";

/**
 * Keeps the files of a session's weights for the run in `dir`: in the place of those that the run had before.
 * @returns their paths; none where no unit rests in one, or they cannot be kept
 * @throws Zo2Error ZO2_ERR_IO where the folder of the run cannot be written
 */
export async function keepFiles(
  dir: string,
  loaded: Loaded,
  header: RunHeader,
  onWarning: (warning: Warning) => void,
): Promise<readonly string[]> {
  const { session, options } = loaded;
  const { diskPath } = options.offload;
  const { scratchFiles } = session.store;
  if (scratchFiles.length === 0 || diskPath === undefined) return [];
  const identity = await identityOf(loaded, header);
  const head = headOf(identity, await Checksum.create());
  const before = (await readPlace(dir).catch(() => null))?.files.map(({ path }) => path) ?? [];
  const files: PlacedFile[] = [];
  try {
    for (const [i, file] of scratchFiles.entries()) {
      const path = join(diskPath, nameOfKept(identity.slice(0, IDENTITY_BYTES), i));
      await nameFile(file, path, head);
      files.push({ path, units: [...file.units] });
    }
    await syncFolder(diskPath);
  } catch (error) {
    for (const { path } of files) await removeNamed(path).catch(() => undefined);
    if (!isZo2Error(error) && errnoOf(error) === undefined) throw error;
    const message = `${dir}: its weights on disk are not kept: ${messageOf(error)}; ${COSTS}`;
    onWarning({ code: "ZO2_WARN_DISK", message });
    return [];
  }
  const place: Place = { identity, files };
  await replaceTextFile(join(dir, PLACE_FILE), `${JSON.stringify(place, null, 2)}\n`);
  const paths = files.map(({ path }) => path);
  // Those that the run had before, and the names that another run has given to these.
  for (const old of new Set([...before, ...(named.get(session.store) ?? [])]))
    if (!paths.includes(old)) await removeNamed(old);
  named.set(session.store, paths);
  return paths;
}

/** Gives a file a name, in the place of what has it. */
async function nameFile(file: WeightFile, path: string, head: Uint8Array): Promise<void> {
  const fresh = `${path}.new`;
  try {
    await file.writeHead(head);
    await rm(fresh, { force: true });
    await file.link(fresh);
    await rename(fresh, path);
  } finally {
    // Which is still there where both are names of one file: nothing was renamed then.
    await rm(fresh, { force: true });
  }
}

/** The run in `dir` needs its files no more. */
export async function forgetFiles(dir: string): Promise<void> {
  const place = await readPlace(dir).catch(() => null);
  for (const { path } of place?.files ?? []) await removeNamed(path);
  await rm(join(dir, PLACE_FILE), { force: true });
}

/** What is in the files of a run that was left: units that have some of its updates. */
export interface KeptUnits extends AsyncDisposable {
  /** Of units whose seals are whole and of this run: how many of the updates that count they have. */
  readonly counts: ReadonlyMap<number, number>;
  /** Units that were written there, whatever is in them now. */
  readonly written: ReadonlySet<number>;
  /**
   * Brings units to where they rest, those whose bytes are what their seals say. @returns these
   */
  bring(units: readonly number[], signal: AbortSignal | undefined): Promise<ReadonlySet<number>>;
}

/**
 * Opens the files of the run in `dir`, to read them; null where there are none, or they are another's.
 * @param onWarning told why some that were kept are not used.
 */
export async function openKept(
  dir: string,
  loaded: Loaded,
  run: Updates,
  onWarning: (warning: Warning) => void,
): Promise<KeptUnits | null> {
  const warn = (what: string, error: unknown) =>
    onWarning({
      code: "ZO2_WARN_DISK",
      message:
        `${what}: the weights that the run has left on disk are not used: ` + `${messageOf(error)}; they are rebuilt`,
    });
  try {
    const place = await readPlace(dir);
    if (place === null) return null;
    const identity = await identityOf(loaded, run.header);
    if (place.identity !== identity) throw new Error("the weights are cut into other units now");
    const kept = await KeptFiles.of(loaded, run);
    const head = headOf(identity, kept.checksum);
    let used = false;
    for (const file of place.files) {
      try {
        await kept.add(file, head);
        used = true;
      } catch (error) {
        warn(file.path, error);
      }
    }
    if (used) return kept;
    await kept[Symbol.asyncDispose]();
    return null;
  } catch (error) {
    warn(join(dir, PLACE_FILE), error);
    return null;
  }
}

class KeptFiles implements KeptUnits {
  readonly counts = new Map<number, number>();
  readonly written = new Set<number>();
  private readonly found = new Map<number, Found>();
  private readonly handles: FileHandle[] = [];

  private constructor(
    private readonly loaded: Loaded,
    /** How many of the updates that count weights with a fingerprint have. */
    private readonly known: ReadonlyMap<string, number>,
    readonly checksum: Checksum,
  ) {}

  static async of(loaded: Loaded, run: Updates): Promise<KeptFiles> {
    return new KeptFiles(loaded, await countsByFingerprint(run), await Checksum.create());
  }

  /** Looks at the seals of one more file. @throws Error where it is not to be used */
  async add({ path, units }: PlacedFile, head: Buffer): Promise<void> {
    const handle = await open(path, "r");
    this.handles.push(handle);
    if (!(await readBlock(handle, 0)).equals(head)) throw new Error("it is another file");
    for (const { unit, seal: position, offset, bytes } of units) {
      const block = await readBlock(handle, position);
      if (block.some((byte) => byte !== 0)) this.written.add(unit);
      const seal = decodeSeal(block, this.checksum);
      const taken = seal === null ? undefined : this.known.get(seal.note.fingerprint);
      if (seal === null || taken === undefined || seal.unit !== unit || seal.bytes !== bytes) continue;
      if (this.loaded.session.units[unit]?.wireBytes !== bytes) continue;
      this.counts.set(unit, taken);
      this.found.set(unit, { handle, seal, block, offset });
    }
  }

  async bring(units: readonly number[], signal: AbortSignal | undefined): Promise<ReadonlySet<number>> {
    const brought = new Set<number>();
    if (units.length === 0) return brought;
    const { session } = this.loaded;
    const fill = async () => {
      for (const unit of units) {
        if (signal?.aborted === true)
          throw new Zo2Error("ZO2_ERR_ABORTED", "the replay was stopped", { cause: signal.reason });
        const found = this.found.get(unit);
        if (found === undefined) continue;
        const good = await session.store.offer(unit, (memory) => this.fill(memory, found), found.block);
        if (good) brought.add(unit);
      }
    };
    await session.rewrite(false, fill, units);
    return brought;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const handle of this.handles) await handle.close();
  }

  /** Whether the bytes are those of the seal. */
  private async fill(memory: HostBytes, { handle, seal, offset }: Found): Promise<boolean> {
    this.checksum.init();
    const piece = Buffer.alloc(Math.min(PIECE_BYTES, seal.bytes));
    for (let done = 0; done < seal.bytes; ) {
      const length = Math.min(piece.byteLength, seal.bytes - done);
      // What cannot be read is as good as damaged.
      const { bytesRead } = await handle.read(piece, 0, length, offset + done).catch(() => ({ bytesRead: 0 }));
      if (bytesRead === 0) return false;
      const part = piece.subarray(0, bytesRead);
      this.checksum.update(part);
      memory.buffer.write(memory.offset + done, part);
      done += bytesRead;
    }
    return this.checksum.digest() === seal.checksum;
  }
}

interface Found {
  readonly handle: FileHandle;
  readonly seal: Seal;
  readonly block: Buffer;
  readonly offset: number;
}

/** How many of the updates that count weights with this fingerprint have. */
async function countsByFingerprint(run: Updates): Promise<ReadonlyMap<string, number>> {
  const fingerprint = await UpdatesFingerprint.create(run.header);
  const counts = new Map<string, number>();
  for (const [i, update] of updatesOf(run).entries()) {
    fingerprint.add(update);
    counts.set(fingerprint.now(), i + 1);
  }
  return counts;
}

/** Of a run, and of how weights are cut into units and lie in them. */
function identityOf({ session }: Loaded, header: RunHeader): Promise<string> {
  const cut = session.units.map(({ tensors, wireBytes }) => [
    wireBytes,
    tensors.map((t) => [t.parameter.name, t.rowStart, t.rowCount, t.wire, t.wireOffset, t.scaleOffset]),
  ]);
  return hashOfJson({ header, cut });
}

/** The first block of a file: "zo2disk1", the identity, and the XXH64 of both. */
function headOf(identity: string, checksum: Checksum): Buffer {
  const head = Buffer.alloc(FILE_HEAD_BYTES);
  MAGIC.copy(head);
  head.write(identity, MAGIC.byteLength, "hex");
  const end = MAGIC.byteLength + IDENTITY_BYTES;
  head.writeBigUInt64LE(checksum.of(head.subarray(0, end)), end);
  return head;
}

/** Zeros behind the end of the file. */
async function readBlock(handle: FileHandle, position: number): Promise<Buffer> {
  const block = Buffer.alloc(SEAL_BYTES);
  await handle.read(block, 0, block.byteLength, position);
  return block;
}

/** Null where the run has none. @throws Zo2Error ZO2_ERR_CHECKPOINT, ZO2_ERR_IO */
async function readPlace(dir: string): Promise<Place | null> {
  const content = await readJsonFile(join(dir, PLACE_FILE), "ZO2_ERR_CHECKPOINT");
  if (content === undefined) return null;
  const result = placeSchema.safeParse(content);
  if (!result.success) throw new Error(`${PLACE_FILE} does not say where files of weights are`);
  return result.data;
}

async function removeNamed(path: string): Promise<void> {
  if (!isNameOfKept(basename(path))) return;
  await rm(path, { force: true });
  await syncFolder(dirname(path)).catch(() => undefined);
}
